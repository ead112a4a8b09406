"""Pooling windows over an image."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Padding = tuple[tuple[int, int], tuple[int, int]]


def max_pool(x: jax.Array, kernel: int, stride: int, padding: Padding) -> jax.Array:
  """The largest value of every k x k window.

  Args:
    x: `[B, H, W, C]`.
    kernel: side of the window in pixels.
    stride: in pixels, for both axes.
    padding: pixels before and after H, and before and after W; never the largest.

  Returns:
    `[B, H', W', C]` with `H' = (H + sum(padding[0]) - kernel) // stride + 1`.
  """
  return lax.reduce_window(x, -jnp.inf, lax.max, *_windows(kernel, stride, padding))


def mean_pool(x: jax.Array, kernel: int, stride: int, padding: Padding) -> jax.Array:
  """The mean of the pixels of every k x k window that are in the image; shapes as `max_pool`."""
  windows = _windows(kernel, stride, padding)
  ones = np.ones((1, *x.shape[1:3], 1), np.float32)
  pixels = lax.reduce_window(ones, 0.0, lax.add, *windows)
  return lax.reduce_window(x, 0.0, lax.add, *windows) / pixels.astype(x.dtype)


def largest(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
  """Maximum over axes, which are kept; equal maxima share the gradient, as in `jnp.max`.

  The gradient of `jnp.max` compares x with its maximum. XLA may compute x twice with different
  rounding; then nothing equals the maximum and the gradient is 0 / 0. Here the first maximum always
  takes part.
  """
  top, counts = lax.stop_gradient(x), True
  for axis in axes:
    index = jnp.argmax(top, axis, keepdims=True)
    counts = counts & (lax.broadcasted_iota(index.dtype, x.shape, axis % x.ndim) == index)
    top = top.max(axis, keepdims=True)
  counts = counts | (x == top)
  return jnp.where(counts, x, 0).sum(axes, keepdims=True) / counts.sum(axes, keepdims=True)


def _windows(kernel: int, stride: int, padding: Padding):
  return (1, kernel, kernel, 1), (1, stride, stride, 1), ((0, 0), *padding, (0, 0))
