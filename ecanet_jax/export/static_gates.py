"""Channel attention as constants: each block's mean weights, folded into a kernel where possible.

A trained gate may depend little on the image. A network with constant gates has no squeeze and no
layers of attention, and needs an evaluation of its own.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import numpy as np
from flax import traverse_util

from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.models.intermediates import attention_views
from ecanet_jax.nn.attention.channel import ChannelAttention
from ecanet_jax.runtime.errors import UserError

Gates: TypeAlias = Mapping[str, np.ndarray | None]  # block -> [C]; None: a kernel contains it

# Position of the attention -> the convolution whose kernel can contain the weights, and the axis of
# its input or output channels. The first that a block has counts.
NEXT, SAME = -2, -1
KERNELS = {
  'depthwise': (('project', NEXT), ('conv_3', NEXT)),
  'end': (('project', SAME), ('conv_3', SAME)),
}


def mean_gates(
  model: ConvNet, variables: Mapping[str, Any], images: np.ndarray, blocks: Sequence[str] = (),
  batch_size: int = 32,
) -> dict[str, np.ndarray]:
  """The mean weights of each block's attention over images.

  Args:
    model: from `create_model`.
    variables: {'params', 'batch_stats'}.
    images: `[N, H, W, C]`, normalised.
    blocks: names of blocks; () = all with attention.
    batch_size: images that are computed together.

  Returns:
    Block -> `[C]`, float32.

  Raises:
    UserError: no such block, or its attention is not one weight per channel from the means.
  """

  @jax.jit
  def weights(batch):
    views = attention_views(model, variables, batch, blocks)
    return {name: view.get('weights') for name, view in views.items()}

  sums: dict[str, np.ndarray] = {}
  for start in range(0, len(images), batch_size):
    for name, value in weights(images[start : start + batch_size]).items():
      if value is None or value.ndim != 4 or value.shape[1:3] != (1, 1):
        raise UserError(
          f'the attention {model.attention.kind!r} of {name} has no weight per channel that could '
          'be a constant; leave --static_attention out.'
        )
      total = np.asarray(value, np.float64).sum((0, 1, 2))
      sums[name] = sums.get(name, 0) + total
  if not sums:
    raise UserError('the network has no attention; leave --static_attention out.')
  return {name: (total / len(images)).astype(np.float32) for name, total in sums.items()}


def fold_gates(
  model: ConvNet, variables: Mapping[str, Any], gates: Gates
) -> tuple[dict[str, Any], dict[str, np.ndarray | None]]:
  """Multiplies kernels by the weights, and removes the parameters of the attention.

  Args:
    model: the network with BatchNorm folded.
    variables: of that network, on the host.
    gates: block -> `[C]`.

  Returns:
    The variables, and what `without_gates` needs: block -> weights that are in no kernel, or None.
  """
  flat = traverse_util.flatten_dict(dict(variables))
  positions = {block.name: model.slot(block).position for block in model.blocks()}
  left = {}
  for block, weights in gates.items():
    flat = {path: leaf for path, leaf in flat.items() if path[1:3] != (block, 'attention')}
    left[block] = weights
    for name, axis in KERNELS.get(positions[block], ()):
      kernel, bias = ('params', block, name, 'kernel'), ('params', block, name, 'bias')
      if kernel in flat:
        flat[kernel] = flat[kernel] * (weights[:, None] if axis == NEXT else weights)
        if axis == SAME and bias in flat:
          flat[bias] = flat[bias] * weights
        left[block] = None
        break
  return traverse_util.unflatten_dict(flat), left


@contextlib.contextmanager
def without_gates(left: Gates) -> Iterator[None]:
  """Inside, the attention of these blocks multiplies by its constant, or does nothing for None."""

  def multiply(call, args, kwargs, context):
    module = context.module
    is_gate = isinstance(module, ChannelAttention) and context.method_name == '__call__'
    if not (is_gate and module.path[0] in left):
      return call(*args, **kwargs)
    weights = left[module.path[0]]
    return args[0] if weights is None else args[0] * weights[None, None, None]

  with nn.intercept_methods(multiply):
    yield
