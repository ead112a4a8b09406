"""The two-sided difference of two sets of named arrays, and what it probably means."""

from collections.abc import Callable, Mapping

import flax.linen as nn

from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import dialects, eca_kernel_size

Shapes = Mapping[str, tuple[int, ...]]

SHOWN = 3  # keys named per kind of difference


def check(
  expected: Shapes, given: Shapes, what: str, hint: Callable[[], str] = lambda: ''
) -> None:
  """Returns when both sides have the same names and shapes.

  Args:
    expected: the network's.
    given: the file's or the caller's.
    what: the beginning of the message, such as 'the state dict does not fit'.
    hint: called on a difference; what it probably means, or ''.

  Raises:
    UserError: anything is missing, unexpected or of another shape, with counts and first names.
  """
  missing = [key for key in expected if key not in given]
  unexpected = [key for key in given if key not in expected]
  wrong = [
    f'{key} {tuple(given[key])} instead of {tuple(shape)}'
    for key, shape in expected.items()
    if key in given and tuple(given[key]) != tuple(shape)
  ]
  if not (missing or unexpected or wrong):
    return
  parts = [
    f'{len(keys)} {kind} ({_first(keys)})'
    for kind, keys in (('missing', missing), ('unexpected', unexpected), ('wrong in shape', wrong))
    if keys
  ]
  reason = hint()
  raise UserError(
    f'{what} the network, which has {len(expected)} arrays: {"; ".join(parts)}.'
    + (f' {reason}' if reason else '')
  )


def hint(model: nn.Module, given: Shapes, dialect: str) -> str:
  """Says in a sentence why a state dict probably does not fit, or '' when nothing is plain to see.

  Args:
    model: the network.
    given: keys and shapes of the state dict, without prefixes.
    dialect: whose names were expected.
  """
  like = likely_dialect(model, given, dialect)
  if not like:
    return ''
  if like != dialect:
    return f'Its keys look like the dialect {like!r}, not {dialect!r}.'
  theirs = {module.ours: module.theirs for module in dialects.modules(model, dialect)}
  table = dialects.dialect_of(model, dialect)
  kinds = _attention_kinds(theirs, {table.module(key) for key in given})
  kind = model.attention.kind
  kind = 'eca' if kind in eca_kernel_size.KINDS else kind
  if kinds != {kind} and (kinds or kind != 'none'):
    return (
      f'Its attention is {" and ".join(sorted(kinds)) or "none"}, the network has {kind}; '
      'choose the network with the same attention.'
    )
  bias = given.get(table.key(theirs.get('classifier', ''), 'bias'))
  if bias and bias != (model.num_classes,):
    return (
      f'It has {bias[0]} classes, the network {model.num_classes}; '
      f'make the network with num_classes={bias[0]}.'
    )
  return eca_kernel_size.hint(model, given, dialect)


def likely_dialect(model: nn.Module, given: Shapes, asked: str = '') -> str:
  """The dialect that knows most of the keys, if it knows at least half of them, else ''.

  Of several that know as many it is the one that was asked for.
  """
  counts = {}
  for dialect, table in dialects.family(model).dialects.items():
    known = {module.theirs for module in dialects.modules(model, dialect)}
    counts[dialect] = sum(table.module(key) in known for key in given)
  best = max(counts, key=lambda dialect: (counts[dialect], dialect == asked))
  return best if 2 * counts[best] >= len(given) > 0 else ''


def _attention_kinds(theirs: Mapping[str, str], modules: set[str]) -> set[str]:
  tails = {'attention': 'eca', 'attention/reduce': 'se'}
  return {
    tails[tail]
    for ours, module in theirs.items()
    if module in modules and (tail := ours.partition('/')[2]) in tails
  }


def _first(keys: list[str]) -> str:
  more = f', and {len(keys) - SHOWN} more' if len(keys) > SHOWN else ''
  return ', '.join(keys[:SHOWN]) + more
