"""The heads of Faster R-CNN, Mask R-CNN and RetinaNet, with mmdetection 1.x's initial values."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from ecanet_jax.detection.networks.doubling import Doubling
from ecanet_jax.nn.initializers import fan_out_normal, normal, xavier_uniform
from ecanet_jax.nn.layers import Activation, Conv

Levels = tuple[jax.Array, ...]

PRIOR = 0.01  # of an object at the start of a RetinaNet (Lin et al., Focal Loss, section 3.3)


class Head(nn.Module):
  """Base of all heads.

  Attributes:
    backend: a name of `ops.BACKENDS`.
    dtype: type in which the layers compute; the outputs are float32.
  """

  backend: str = 'xla'
  dtype: jnp.dtype = jnp.float32

  def conv(self, name: str, features: int, kernel: int, init: Callable, bias: float = 0.0) -> Conv:
    """A convolution with biases, and their initial value."""
    return Conv(
      features, kernel, use_bias=True, backend=self.backend, dtype=self.dtype, kernel_init=init,
      bias_init=nn.initializers.constant(bias), name=name,
    )


class RPNHead(Head):
  """Region proposal network (Ren et al., Faster R-CNN, 2015), shared by all levels.

  Attributes:
    anchors: of a cell.
  """

  anchors: int = 3

  @nn.compact
  def __call__(self, levels: Levels) -> tuple[jax.Array, jax.Array]:
    """Maps levels `[B, H, W, C]` to objectness `[B, A]` and offsets `[B, A, 4]`."""
    conv = self.conv('conv', levels[0].shape[-1], 3, normal(0.01))
    objectness = self.conv('objectness', self.anchors, 1, normal(0.01))
    boxes = self.conv('boxes', 4 * self.anchors, 1, normal(0.01))
    hidden = [nn.relu(conv(x)) for x in levels]
    return (_rows([objectness(x) for x in hidden], 1)[..., 0],
            _rows([boxes(x) for x in hidden], 4))


class BoxHead(Head):
  """Two layers of `hidden` values, classes and boxes of each class (FPN paper, section 4.2).

  Attributes:
    outputs: classes with the background, which is class 0.
    hidden: width of the two layers.
  """

  outputs: int = 81
  hidden: int = 1024

  @nn.compact
  def __call__(self, pooled: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Maps RoIs' features `[B, R, 7, 7, C]` to logits `[B, R, K]` and offsets `[B, R, K, 4]`."""
    x = pooled.reshape(*pooled.shape[:2], -1)
    for number in (1, 2):
      x = nn.Dense(self.hidden, dtype=self.dtype, kernel_init=xavier_uniform,
                   name=f'fc_{number}')(x)
      x = Activation('relu')(x)
    x = x.astype(jnp.float32)
    logits = nn.Dense(self.outputs, kernel_init=normal(0.01), name='classes')(x)
    boxes = nn.Dense(4 * self.outputs, kernel_init=normal(0.001), name='boxes')(x)
    return logits, boxes.reshape(*logits.shape, 4)


class MaskHead(Head):
  """Convolutions, a transposed one, and a mask for each class (Mask R-CNN, 2017, Fig. 4 right).

  Attributes:
    outputs: classes with the background.
    channels: of the convolutions.
    convs: how many there are.
  """

  outputs: int = 81
  channels: int = 256
  convs: int = 4

  @nn.compact
  def __call__(self, pooled: jax.Array) -> jax.Array:
    """Maps RoIs' features `[B, R, 14, 14, C]` to logits `[B, R, 28, 28, K]`."""
    batch, rois = pooled.shape[:2]
    x = pooled.reshape(batch * rois, *pooled.shape[2:])
    for number in range(1, self.convs + 1):
      x = Activation('relu')(self.conv(f'conv_{number}', self.channels, 3, fan_out_normal)(x))
    x = Doubling(self.channels, (2, 2), (2, 2), dtype=self.dtype, name='up',
                 kernel_init=normal((2 / (4 * self.channels)) ** 0.5))(x)
    x = Activation('relu')(x)
    x = self.conv('masks', self.outputs, 1, fan_out_normal)(x)
    return x.astype(jnp.float32).reshape(batch, rois, *x.shape[1:])


class RetinaNetHead(Head):
  """Two towers of four convolutions: classes and boxes (Lin et al., Focal Loss, 2017, section 4).

  Attributes:
    outputs: values of an anchor: the number of classes, or 4.
    anchors: of a cell.
    prior: the bias of the last layer is log(prior / (1 - prior)); 0.5 gives 0.
    convs: of the tower.
  """

  outputs: int = 80
  anchors: int = 9
  prior: float = PRIOR
  convs: int = 4

  @nn.compact
  def __call__(self, levels: Levels) -> jax.Array:
    """Maps levels `[B, H, W, C]` to `[B, A, outputs]`."""
    tower = [self.conv(f'conv_{number}', levels[0].shape[-1], 3, normal(0.01))
             for number in range(1, self.convs + 1)]
    bias = math.log(self.prior / (1 - self.prior))
    last = self.conv('outputs', self.anchors * self.outputs, 3, normal(0.01), bias)
    rows = []
    for x in levels:
      for conv in tower:
        x = Activation('relu')(conv(x))
      rows.append(last(x))
    return _rows(rows, self.outputs)


def _rows(maps: list[jax.Array], values: int) -> jax.Array:
  """Maps `[B, H, W, anchors * values]` of all levels as `[B, A, values]`, float32."""
  return jnp.concatenate([
    x.astype(jnp.float32).reshape(x.shape[0], -1, values) for x in maps], axis=1)

