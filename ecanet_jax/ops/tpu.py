"""The backend for TPUs: the plain forms, but for what a TPU computes faster in another form."""

import dataclasses

import jax
import jax.numpy as jnp

from ecanet_jax.ops import convolution
from ecanet_jax.ops.backend import XLA
from ecanet_jax.ops.convolution import Padding

FEW = 64  # channels; with more of them the matrices grow faster than the time that they save


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


BACKEND = dataclasses.replace(XLA, name='tpu', depthwise_conv=depthwise_conv)
