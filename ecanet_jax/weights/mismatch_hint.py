"""Guesses why a state dict does not fit a network."""

from collections.abc import Mapping

import flax.linen as nn

from ecanet_jax.detection.networks.detector import Detector
from ecanet_jax.weights import dialects, eca_kernel_size
from ecanet_jax.weights.detectors.classes import classes_in
from ecanet_jax.weights.prefixes import shared_prefix

# Ends of the keys of tensors from which PyTorch computes a weight -> what makes it a weight again.
COMPUTED = {
  '.weight_orig': 'torch.nn.utils.prune.remove(module, "weight")',
  '.weight_g': 'torch.nn.utils.remove_weight_norm(module)',
  '.parametrizations.weight.original0':
    'torch.nn.utils.parametrize.remove_parametrizations(module, "weight")',
  '.parametrizations.weight.original':
    'torch.nn.utils.parametrize.remove_parametrizations(module, "weight")',
}

Shapes = Mapping[str, tuple[int, ...]]


def hint(model: nn.Module, given: Shapes, dialect: str) -> str:
  """Says in one sentence why a state dict probably does not fit; '' where no cause is obvious.

  The causes are another dialect, another attention, no BatchNorm statistics, weights that PyTorch
  computes from other tensors, no classifier, another number of classes, and other ECA kernel sizes.

  Args:
    model: the network.
    given: the state dict's shapes by key, without the prefixes of wrappers.
    dialect: the dialect that was expected.
  """
  like = likely_dialect(model, given, dialect)
  if not like:
    return ''
  if like != dialect:
    return f'Its keys look like the dialect {like!r}, not {dialect!r}.'
  if text := _computed(given):
    return text
  if isinstance(model, Detector):
    return _classes_of_detector(model, given, dialect)
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
  if theirs.get('classifier') and not any(
    table.module(key) == theirs['classifier'] for key in given
  ):
    return (
      'It has no classifier: it is a start of a training (init.weights), and gives features '
      '(num_classes=0).'
    )
  bias = given.get(table.key(theirs.get('classifier', ''), 'bias'))
  if bias and bias != (model.num_classes,):
    return (
      f'It has {bias[0]} classes, the network {model.num_classes}; '
      f'make the network with num_classes={bias[0]}.'
    )
  return eca_kernel_size.hint(model, given, dialect)


def _classes_of_detector(model: Detector, given: Shapes, dialect: str) -> str:
  """Says that a detector has another number of classes."""
  found = classes_in(model, given, dialect)
  if found in (None, model.num_classes):
    return ''
  return (
    f'It has {found} classes, the detector {model.num_classes}; '
    f'make the detector with num_classes={found}.'
  )


def likely_dialect(model: nn.Module, given: Shapes, asked: str = '') -> str:
  """Returns the dialect that knows the most keys, or '' if none knows at least half of them.

  Args:
    model: the network.
    given: the state dict's shapes by key.
    asked: the dialect that wins a tie.
  """
  counts, prefix = {}, shared_prefix(given)
  for dialect, table in dialects.family(model).dialects.items():
    known = {module.theirs for module in dialects.modules(model, dialect)}
    counts[dialect] = sum(table.module(key.removeprefix(prefix)) in known for key in given)
  best = max(counts, key=lambda dialect: (counts[dialect], dialect == asked))
  return best if 2 * counts[best] >= len(given) > 0 else ''


def _computed(given: Shapes) -> str:
  """Says that PyTorch computes weights from other tensors, or that its buffers were not saved."""
  for tail, remove in COMPUTED.items():
    if key := next((key for key in given if key.endswith(tail)), ''):
      return f'PyTorch computes a weight from {key}; before saving call {remove}.'
  endings = {key.rpartition('.')[2] for key in given}
  if any(key.endswith('bn1.weight') for key in given) and 'running_mean' not in endings:
    return (
      'It has no BatchNorm statistics; save model.state_dict(), which has them, and not '
      'named_parameters().'
    )
  return ''


def _attention_kinds(theirs: Mapping[str, str], modules: set[str]) -> set[str]:
  tails = {'attention': 'eca', 'attention/reduce': 'se'}
  return {
    tails[tail]
    for ours, module in theirs.items()
    if module in modules and (tail := ours.partition('/')[2]) in tails
  }
