"""Compares the classes that weights were trained with and those of a data set."""

from collections.abc import Sequence

from ecanet_jax.data.label_names import names_as_wnids
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.log import log

SHOWN = 5  # most names of a list in a message


def check_classes(
  what: str, theirs: Sequence[str] | None, ours: Sequence[str] | None, *, accept: bool,
  otherwise: str, flag: str = '--config.data.accept_changes=True',
) -> None:
  """Refuses a data set with other classes, or the same ones in another order.

  ImageNet's names and its WordNet ids are the same classes. Without names on one of the sides there
  is nothing to compare.

  Args:
    what: the weights, for the message.
    theirs: the class names of the weights.
    ours: the class names of the data set.
    accept: a warning instead, if the number of classes is the same (data.accept_changes).
    otherwise: what to do if the classes are different ones, for the message.
    flag: that sets `accept`, for the message.

  Raises:
    UserError: with the first difference, the number of differences, and the names on one side only.
  """
  if theirs is None or ours is None or names_as_wnids(theirs) == names_as_wnids(ours):
    return
  text = f'{what} was trained with other classes than the data have: {_differences(theirs, ours)}'
  if len(theirs) != len(ours):
    raise UserError(f'{text} {otherwise}')
  if not accept:
    raise UserError(
      f'{text} If they mean the same, add {flag}. {otherwise}'
    )
  log.warning('%s %s accepts that.', text, flag.removeprefix('--config.'))


def _differences(theirs: Sequence[str], ours: Sequence[str]) -> str:
  """Two lists in words; each part is a sentence or more, with a full stop."""
  pairs = list(zip(theirs, ours, strict=False))
  other = [number for number, (their, our) in enumerate(pairs) if their != our]
  before, now = set(theirs), set(ours)
  gone = [name for name in theirs if name not in now]
  new = [name for name in ours if name not in before]
  parts = []
  if len(theirs) != len(ours):
    parts.append(f'{len(theirs):,} classes there and {len(ours):,} in the data')
  if other:
    their, our = pairs[other[0]]
    many = f', {len(other):,} of {len(pairs):,} differ' if len(other) > 1 else ''
    parts.append(f'class {other[0]} is {their!r} there and {our!r} in the data{many}')
  parts += [f'gone: {_listed(gone)}'] if gone else []
  parts += [f'new: {_listed(new)}'] if new else []
  if not gone and not new:
    parts.append('the same names in another order')
  return '; '.join(parts) + '.'


def _listed(names: Sequence[str]) -> str:
  more = f' and {len(names) - SHOWN:,} more' if len(names) > SHOWN else ''
  return ', '.join(map(repr, names[:SHOWN])) + more
