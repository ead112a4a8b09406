"""The difference of two sets of named arrays: missing, unexpected and mismatched ones."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ecanet_jax.runtime.errors import UserError

SHOWN = 3  # most names in a message for each kind of difference


def key_difference(
  expected: Mapping[str, Any], given: Mapping[str, Any], what: str = 'shape'
) -> str:
  """Describes how two sets of named arrays differ.

  Args:
    expected: name -> shape, or another description of the array.
    given: likewise for the other set.
    what: the kind of description, for the message.

  Returns:
    '2 missing (a, b); 1 unexpected (c); 1 wrong in shape (d (3,) instead of (4,))', or '' for equal
    sets. At most SHOWN names of each kind are listed.
  """
  kinds = {
    'missing': [name for name in expected if name not in given],
    'unexpected': [name for name in given if name not in expected],
    f'wrong in {what}': [
      f'{name} {given[name]} instead of {value}'
      for name, value in expected.items() if name in given and given[name] != value
    ],
  }
  parts = [f'{len(names)} {kind} ({_first(names)})' for kind, names in kinds.items() if names]
  return '; '.join(parts)


def check_keys(
  expected: Mapping[str, Any], given: Mapping[str, Any], subject: str,
  hint: Callable[[], str] = lambda: '',
) -> None:
  """Checks that arrays are exactly those of a network.

  Args:
    expected: the network's shapes by name.
    given: the given shapes by name.
    subject: beginning of the message, such as 'the state dict does not fit'.
    hint: called on a difference; returns a sentence with the likely cause, or ''.

  Raises:
    UserError: an array is missing, unexpected or of another shape; with counts and first names.
  """
  difference = key_difference(expected, given)
  if difference:
    reason = hint()
    raise UserError(
      f'{subject} the network, which has {len(expected)} arrays: {difference}.'
      + (f' {reason}' if reason else '')
    )


def _first(names: Sequence[str]) -> str:
  more = f', and {len(names) - SHOWN} more' if len(names) > SHOWN else ''
  return ', '.join(names[:SHOWN]) + more
