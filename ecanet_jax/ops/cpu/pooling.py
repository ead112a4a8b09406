"""Max pooling on a CPU; XLA's gradient is a slow scatter."""

import functools

import jax

from ecanet_jax.ops import pooling as plain
from ecanet_jax.ops.cpu import kernels


def max_pool(x, kernel, stride, padding):
  """`ops.pooling.max_pool`; the gradient goes to the first pixel that has the largest value."""
  if not kernels.usable(x):
    return plain.max_pool(x, kernel, stride, padding)
  return _max_pool(x, kernel, stride, padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(x, kernel, stride, padding):
  shape = kernels.output_shape(x.shape, (kernel, kernel), stride, padding, x.shape[-1])
  return kernels.call('max_pool', shape, x, **_window(kernel, stride, padding))


def _forward(x, kernel, stride, padding):
  y = _max_pool(x, kernel, stride, padding)
  return y, (x, y)


def _backward(kernel, stride, padding, residuals, gradient):
  x, y = residuals
  window = _window(kernel, stride, padding)
  return (kernels.call('max_pool_gradient', x.shape, x, y, gradient, **window),)


_max_pool.defvjp(_forward, _backward)


def _window(kernel, stride, padding):
  return {'kernel': kernel, 'stride': stride, 'top': padding[0][0], 'left': padding[1][0]}
