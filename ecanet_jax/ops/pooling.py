"""Max pooling, beside the plain reference.

XLA makes its gradient from a scatter, which takes a tenth of a ResNet's training step on a CPU.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from ecanet_jax.ops import cpu

Padding = tuple[tuple[int, int], tuple[int, int]]


def max_pool(x: jax.Array, kernel: int, stride: int, padding: Padding) -> jax.Array:
  """The largest value of every k x k window; the gradient goes to the first pixel that has it.

  Args:
    x: `[B, H, W, C]`.
    kernel: of the window, in pixels, for both axes.
    stride: in pixels, for both axes.
    padding: pixels before and after H, and before and after W, that are never the largest.

  Returns:
    `[B, H', W', C]` with `H' = (H + sum(padding[0]) - kernel) // stride + 1`.
  """
  if cpu.usable(x):
    return _native_max_pool(x, kernel, stride, padding)
  return plain_max_pool(x, kernel, stride, padding)


def plain_max_pool(x, kernel, stride, padding):
  """The plain reference."""
  return lax.reduce_window(
    x, -jnp.inf, lax.max, (1, kernel, kernel, 1), (1, stride, stride, 1),
    ((0, 0), *padding, (0, 0)),
  )


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _native_max_pool(x, kernel, stride, padding):
  size = [(x.shape[a + 1] + sum(padding[a]) - kernel) // stride + 1 for a in (0, 1)]
  shape = (x.shape[0], *size, x.shape[-1])
  return cpu.call('max_pool', shape, x, **_window(kernel, stride, padding))


def _forward(x, kernel, stride, padding):
  y = _native_max_pool(x, kernel, stride, padding)
  return y, (x, y)


def _backward(kernel, stride, padding, residuals, gradient):
  x, y = residuals
  window = _window(kernel, stride, padding)
  return (cpu.call('max_pool_gradient', x.shape, x, y, gradient, **window),)


_native_max_pool.defvjp(_forward, _backward)


def _window(kernel, stride, padding):
  return {'kernel': kernel, 'stride': stride, 'top': padding[0][0], 'left': padding[1][0]}
