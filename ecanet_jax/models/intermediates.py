"""Intermediate values of a network: stage features, squeezed channels, attention weights.

They come from flax's `sow`, which costs nothing in programs that do not ask for them. Both
functions are pure; under jit, XLA removes what the result does not need.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.runtime.errors import UserError, closest

STRIDES = (4, 8, 16, 32)


def stage_features(
  model: ConvNet, variables: Mapping[str, Any], images: jax.Array
) -> dict[int, jax.Array]:
  """The last features of each stride, as a detector's backbone returns them.

  Args:
    model: from `create_model`.
    variables: {'params', 'batch_stats'}.
    images: `[B, H, W, 3]`, normalised.

  Returns:
    Stride in pixels (those of 4, 8, 16 and 32 that the network has) -> `[B, H', W', C]`.
  """
  seen = _intermediates(model, variables, images)
  names, stride = {4: 'stride_4'}, model.stem_stride  # some stems sow it
  for block in model.blocks():
    stride *= block.stride
    names[stride] = f'stage_{block.stage}'
  return {stride: seen[names[stride]][0] for stride in STRIDES if names.get(stride) in seen}


def attention_views(
  model: ConvNet,
  variables: Mapping[str, Any],
  images: jax.Array,
  blocks: Sequence[str] = (),
) -> dict[str, dict[str, jax.Array]]:
  """The input and the weights of each block's attention.

  Args:
    model: from `create_model`.
    variables: {'params', 'batch_stats'}.
    images: `[B, H, W, 3]`, normalised.
    blocks: names of blocks, such as 'blocks_3_1'; () = all with attention.

  Returns:
    Two arrays for each block name. Channel attention has 'squeeze', `[B, 1, 1, C]` for a mean, and
    'weights', `[B, 1, 1, C]`. Other kinds have arrays of their own.

  Raises:
    UserError: there is no such block, or it has no attention; the text lists those that have.
  """
  seen = _intermediates(model, variables, images)
  views = {}
  for block in model.blocks():
    attention = seen.get(block.name, {}).get('attention', {})
    values = {name: value[0] for name, value in attention.items() if isinstance(value, tuple)}
    if values:
      views[block.name] = values
  for name in blocks:
    if name not in views:
      raise UserError(
        f'no attention in a block {name!r}.{closest(name, views)} '
        f'Blocks with attention: {", ".join(views) or "none"}.'
      )
  return {name: views[name] for name in blocks} if blocks else views


def _intermediates(model, variables, images):
  _, changed = model.apply(variables, images, train=False, stages=True, mutable=['intermediates'])
  return changed.get('intermediates', {})
