"""Feature pyramid: maps of one width at every stride, from a backbone's stages."""

import functools
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from ecanet_jax.nn.initializers import xavier_uniform
from ecanet_jax.nn.layers import Conv
from ecanet_jax.runtime.errors import UserError

# Number of levels above the backbone's last stage. 'pool': P6 is every second cell of P5. 'c5' and
# 'p5': P6 and P7 are 3x3 convolutions with stride 2, which start from the backbone's last stage or
# from P5.
COARSE = {'pool': 1, 'c5': 2, 'p5': 2}


class FeaturePyramid(nn.Module):
  """Lin et al., Feature Pyramid Networks for Object Detection (2017), section 3.

  Convolutions have biases, and neither BatchNorm nor activations.

  Attributes:
    channels: of every level.
    coarse: a name of COARSE.
    relu_before_p7: whether P7 reads P6 through a ReLU, as in RetinaNet's paper and torchvision; in
      mmdetection 1.x it does not.
    backend: a name of `ops.BACKENDS`.
    dtype: type in which the layers compute.
  """

  channels: int = 256
  coarse: str = 'pool'
  relu_before_p7: bool = False
  backend: str = 'xla'
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, features: Mapping[int, jax.Array]) -> tuple[jax.Array, ...]:
    """Maps features by stride, each `[B, H, W, C]`, to P2, P3, ..., each `[B, H, W, channels]`.

    A level k has stride 2^k. Each map must be half as high and wide as the one before.

    Raises:
      UserError: it is not.
    """
    conv = functools.partial(
      Conv, self.channels, use_bias=True, backend=self.backend, dtype=self.dtype,
      kernel_init=xavier_uniform,
    )
    levels, above = {}, None
    for stride in sorted(features, reverse=True):
      level = stride.bit_length() - 1
      x = conv(name=f'lateral_{level}')(features[stride])
      if above is not None:
        x = x + _doubled(above, x.shape)
      levels[level], above = x, x
    outputs = [conv(3, name=f'output_{level}')(levels[level]) for level in sorted(levels)]
    if self.coarse == 'pool':
      return *outputs, outputs[-1][:, ::2, ::2]
    start = features[max(features)] if self.coarse == 'c5' else outputs[-1]
    last = max(levels)
    first = conv(3, 2, name=f'output_{last + 1}')(start)
    second = conv(3, 2, name=f'output_{last + 2}')(
      nn.relu(first) if self.relu_before_p7 else first)
    return *outputs, first, second


def _doubled(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """Every cell four times, two by two."""
  if (2 * x.shape[1], 2 * x.shape[2]) != shape[1:3]:
    raise UserError(
      f'a level of {shape[1]} x {shape[2]} cells is not twice as large as the next one, '
      f'{x.shape[1]} x {x.shape[2]}; pad the images to a multiple of 32 pixels, and take a '
      'backbone that halves them exactly.'
    )
  return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
