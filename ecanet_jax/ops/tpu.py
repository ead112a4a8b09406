"""The backend for TPUs: the plain forms, but for what a TPU computes faster in another form."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from ecanet_jax.ops import attention, convolution
from ecanet_jax.ops.backend import XLA
from ecanet_jax.ops.convolution import Padding

FEW = 64  # channels; with more of them the matrices grow faster than the time that they save
WINDOW = 8  # pixels along H and W at most


def depthwise_conv(
  x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, bias: jax.Array | None = None,
  activation: str = '',
) -> jax.Array:
  """`ops.convolution.depthwise_conv`; with few channels as a dense convolution.

  XLA computes a depthwise convolution in the vector unit, whose lanes hold 128 channels; 32
  channels take as long as 128. The matrix unit takes a third of that for a dense convolution whose
  kernel is diagonal. All other products are with zeros, so the result is the same. In an image with
  an infinite value they are NaN, in every channel.
  """
  channels = x.shape[-1]
  if channels > FEW or stride > 1:
    return convolution.depthwise_conv(x, kernel, stride, padding, bias, activation)
  dense = kernel[..., None] * jnp.eye(channels, dtype=kernel.dtype)[None, None]
  return convolution.conv(x, dense, stride, padding, 1, bias, activation)


@jax.custom_jvp
def pixel_mean(x: jax.Array) -> jax.Array:
  """`ops.attention.pixel_mean`, first over windows that divide the image, then over those.

  It remains one pass over x. XLA estimates half the cycles of a plain mean for it, where that is a
  pass of its own. Behind a convolution a plain mean costs nothing: XLA takes it on the way.
  """
  height, width, channels = x.shape[-3:]
  window = (1, _divisor(height), _divisor(width), 1)
  images = x.reshape(-1, height, width, channels)
  sums = lax.reduce_window(images, jnp.zeros((), x.dtype), lax.add, window, window, 'VALID')
  return (sums.sum((1, 2)) / (height * width)).reshape(*x.shape[:-3], 1, 1, channels)


@pixel_mean.defjvp
def _pixel_mean_jvp(primals, tangents):
  return pixel_mean(*primals), attention.pixel_mean(*tangents)


def _divisor(size: int) -> int:
  """The largest divisor that is at most `WINDOW`."""
  return max(number for number in range(1, WINDOW + 1) if size % number == 0)


BACKEND = dataclasses.replace(
  XLA, name='tpu', depthwise_conv=depthwise_conv,
  batch_norm_attend=partial(attention.batch_norm_attend, mean_of=pixel_mean),
)
