"""A convolution of images with few channels, whose kernel gradient is one product.

XLA computes that gradient on a CPU as a convolution of the transposed images, which takes longer
than all other gradients of a stem together. Here every pixel's window becomes a row, and the
gradient is the product of all rows with all output pixels.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

Padding = tuple[tuple[int, int], tuple[int, int]]

MAX_WINDOW = 32  # values in a window, kh * kw * in, up to which the rows are small enough


def conv(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, groups: int = 1):
  """`stem_conv` on a CPU for small windows, where it is faster; otherwise `plain_conv`."""
  small = groups == 1 and math.prod(kernel.shape[:3]) <= MAX_WINDOW
  if small and jax.default_backend() == 'cpu':
    return stem_conv(x, kernel, stride, padding)
  return plain_conv(x, kernel, stride, padding, groups)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def stem_conv(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
  """Convolves `[B, H, W, in]` with `[kh, kw, in, out]` to `[B, H', W', out]`; see `plain_conv`."""
  return plain_conv(x, kernel, stride, padding)


def plain_conv(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, groups: int = 1):
  """The plain reference: XLA's convolution.

  Args:
    x: `[B, H, W, in]`.
    kernel: `[kh, kw, in / groups, out]`, of x's dtype.
    stride: in pixels, for both axes.
    padding: zeros before and after H, and before and after W.
    groups: of channels.
  """
  return lax.conv_general_dilated(
    x, kernel, (stride, stride), padding, dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    feature_group_count=groups,
  )


def _forward(x, kernel, stride, padding):
  return plain_conv(x, kernel, stride, padding), (x, kernel)


def _backward(stride, padding, residuals, gradient):
  x, kernel = residuals
  kh, kw, channels, features = kernel.shape
  rows, columns = gradient.shape[1:3]
  padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
  windows = jnp.concatenate([
    padded[:, i : i + (rows - 1) * stride + 1 : stride, j : j + (columns - 1) * stride + 1 : stride]
    for i in range(kh) for j in range(kw)
  ], axis=-1)
  dkernel = lax.dot_general(
    windows.reshape(-1, kh * kw * channels), gradient.reshape(-1, features),
    (((0,), (0,)), ((), ())),
  )
  # Nobody asks for the gradient of images; then this is not in the compiled program.
  dx = jax.vjp(lambda x: plain_conv(x, kernel, stride, padding), x)[1](gradient)[0]
  return dx, dkernel.reshape(kernel.shape)


stem_conv.defvjp(_forward, _backward)
