"""Reads ECA's kernel sizes from a state dict, and widens kernels to a network's larger sizes.

The kernel sizes of the ECA authors' released weights differ from Eq. 9 of their paper: ResNet-50
has 3, 5, 5, 7 in its stages, while Eq. 9 on the output channels gives 5, 5, 5, 7.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import flax.linen as nn
import numpy as np

from ecanet_jax.nn.attention import Attention, place
from ecanet_jax.nn.attention.kernel_size import K_POLICY
from ecanet_jax.nn.block import Block
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import dialects

Shapes = Mapping[str, tuple[int, ...]]

KINDS = ('eca', 'eca_circular')  # the kinds of attention with one kernel `[k]`


def kernel_sizes(model: nn.Module, shapes: Shapes, dialect: str = 'timm') -> dict[str, int]:
  """Returns the kernel size of each ECA module in a state dict, by block, in the network's order.

  Args:
    model: a network with the same blocks; its attention does not matter.
    shapes: of the state dict's arrays by key, without the prefixes of wrappers.
    dialect: the code whose names the keys are.

  Raises:
    UserError: an unknown dialect.
  """
  return {
    block.name: shapes[key][-1]
    for block, key in _kernels(model, dialect)
    if len(shapes.get(key, ())) == 3 and shapes[key][:2] == (1, 1)
  }


def widen_kernels(
  state_dict: Mapping[str, np.ndarray], model: nn.Module, dialect: str = 'timm'
) -> dict[str, np.ndarray]:
  """Pads ECA kernels with zeros to the network's sizes, which does not change the logits.

  Each side gets the same number of zeros.

  Args:
    state_dict: without the prefixes of wrappers (`convert.own_arrays`).
    model: the network, with ECA.
    dialect: the code whose names the keys are.

  Raises:
    UserError: an unknown dialect, ECA in other blocks, or a kernel that is larger than the
      network's or smaller by an odd number.
  """
  arrays = dict(state_dict)
  shapes = {key: np.shape(array) for key, array in arrays.items()}
  found, wanted = kernel_sizes(model, shapes, dialect), _own(model, model.attention)
  if set(found) != set(wanted):
    raise UserError(
      f'the state dict has ECA kernels in {len(found)} blocks and the network in {len(wanted)}; '
      'choose a network with ECA in the same blocks, and the dialect of the keys.'
    )
  for block, key in _kernels(model, dialect):
    if block.name not in found:
      continue
    k, wider = found[block.name], wanted[block.name]
    if k > wider or (wider - k) % 2:
      raise UserError(
        f"{key}: a kernel of k={k} cannot become the network's k={wider} by zeros on both sides; "
        'the network needs the same k, or an even number more.'
      )
    side = (wider - k) // 2
    arrays[key] = np.pad(arrays[key], ((0, 0), (0, 0), (side, side)))
  return arrays


def hint(model: nn.Module, given: Shapes, dialect: str) -> str:
  """Says which kernel sizes a state dict has and how to fit them; '' if they are the network's.

  Args:
    model: the network.
    given: the state dict's shapes by key, without the prefixes of wrappers.
    dialect: the code whose names the keys are.
  """
  theirs, ours = kernel_sizes(model, given, dialect), _own(model, model.attention)
  if not ours or set(theirs) != set(ours) or theirs == ours:
    return ''
  widening = all(k <= ours[block] and (ours[block] - k) % 2 == 0 for block, k in theirs.items())
  advice = [
    *(f'make the network with {flag} (train, eval)' for flag in [_fitting(model, theirs)] if flag),
    *(['widen the kernels with --widen (convert)'] if widening else []),
  ] or ['no k or k_policy of this network fits']
  return (
    f'Its ECA kernels have k={_by_stage(model, theirs)} in the stages, the network '
    f'{_by_stage(model, ours)}; {", or ".join(advice)}.'
  )


def _kernels(model: nn.Module, dialect: str) -> Iterator[tuple[Block, str]]:
  """Yields each block that can have ECA, and the key of its kernel."""
  table = dialects.dialect_of(model, dialect)
  theirs = {module.ours: module.theirs for module in dialects.modules(model, dialect)}
  for block in model.blocks():
    module = theirs.get(f'{block.name}/attention')
    if module and 'eca' in table.layouts:
      yield block, table.key(module, table.layouts['eca'][0].theirs)


def _own(model: nn.Module, attention: Attention) -> dict[str, int]:
  """Returns the network's kernel sizes with this attention, by block; {} without ECA."""
  if attention.kind not in KINDS:
    return {}
  stages = model.stages_count()
  slots = [place(attention, block, model.standard, stages) for block in model.blocks()]
  return {slot.block.name: slot.k for slot in slots if slot.position}


def _fitting(model: nn.Module, sizes: Mapping[str, int]) -> str:
  """Returns the option that gives the network these kernel sizes, or ''."""
  stages = {block.stage: sizes[block.name] for block in model.blocks() if block.name in sizes}
  least = min(sizes.values())
  k = tuple(stages.get(stage + 1, least) for stage in range(model.stages_count()))
  if len(set(k)) == 1:
    k = k[:1]
  options = {f'--config.model.attention.k="{k}"': {'k': k}}
  for policy in K_POLICY:
    options[f'--config.model.attention.k_policy={policy}'] = {'k': (), 'k_policy': policy}
  for option, fields in options.items():
    try:
      if _own(model, dataclasses.replace(model.attention, **fields)) == sizes:
        return option
    except UserError:  # the network does not have this policy
      continue
  return ''


def _by_stage(model: nn.Module, sizes: Mapping[str, int]) -> str:
  """Returns '3, 5, 5, 7': '3/5' is a stage whose blocks differ, '-' one without ECA."""
  stages = [set() for _ in range(model.stages_count())]
  for block in model.blocks():
    if block.name in sizes:
      stages[block.stage - 1].add(sizes[block.name])
  return ', '.join('/'.join(map(str, sorted(stage))) or '-' for stage in stages)
