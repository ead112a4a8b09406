"""BatchNorm on a CPU in four passes: moments, normalised image, gradient sums, input gradient.

The gradient computes the activation's slope again, which is cheaper than storing it.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from ecanet_jax.ops import batch_norm as plain
from ecanet_jax.ops.activation import activate
from ecanet_jax.ops.batch_norm import statistics
from ecanet_jax.ops.cpu import kernels
from ecanet_jax.ops.cpu.kernels import FUSED


def batch_norm(x, scale, bias, origin, eps, activation='', groups=1):
  """`ops.batch_norm.batch_norm`."""
  if not kernels.usable(x, scale):
    return plain.batch_norm(x, scale, bias, origin, eps, activation, groups)
  if activation not in FUSED:
    y, mean, var = batch_norm(x, scale, bias, origin, eps, '', groups)
    return activate(y, activation), mean, var
  flat = x.reshape(groups, -1, x.shape[-1])
  y, mean, var = _batch_norm(flat, scale, bias, lax.stop_gradient(origin), eps, activation)
  return y.reshape(x.shape), mean, var


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _batch_norm(x, scale, bias, origin, eps, activation):
  """BatchNorm of `[groups, rows, C]`."""
  return _forward(x, scale, bias, origin, eps, activation)[0]


def _forward(x, scale, bias, origin, eps, activation):
  rows = x.shape[1]
  first, second = kernels.call('norm_moments', [(x.shape[0], x.shape[2])] * 2, x, origin)
  mean, var, inverse = statistics(first / rows, second / rows, origin, eps)
  factor = scale[None] * inverse
  shift = bias[None] - mean * factor
  y = kernels.call(
    'norm_apply', x.shape, x, factor, shift, jnp.ones_like(factor), activation=FUSED[activation]
  )
  return (y, mean, var), (x, factor, shift, mean, inverse)


def _backward(eps, activation, residuals, gradients):
  x, factor, shift, mean, inverse = residuals
  gradient, number = gradients[0], FUSED[activation]
  first, second = kernels.call(
    'norm_gradient_sums', [factor.shape] * 2, x, gradient, factor, shift, mean, activation=number
  )
  dscale, dbias = (second * inverse).sum(0), first.sum(0)
  rows = x.shape[1]
  slope, constant = slope_and_constant(first / rows, second / rows, factor, inverse)
  dx = kernels.call(
    'norm_input_gradient', x.shape, x, gradient, factor, shift, mean, slope, constant,
    jnp.ones_like(factor), jnp.zeros_like(factor), activation=number,
  )
  return dx, dscale, dbias, jnp.zeros_like(dbias)


_batch_norm.defvjp(_forward, _backward)


def slope_and_constant(first, second, factor, inverse):
  """Coefficients of dx = gz * factor + (x - mean) * slope + constant, gz = dL/dz, y = act(z).

  Args:
    first: mean of gz over a group's pixels, `[G, C]`.
    second: mean of gz * (x - mean).
    factor: scale * inverse.
    inverse: 1 / sqrt(variance + eps).
  """
  return -factor * jnp.square(inverse) * second, -factor * first


def scale_shift(x, scale, shift, activation=''):
  """`ops.batch_norm.scale_shift`. In training it also adds a bias and applies its activation."""
  if not kernels.usable(x, scale, shift) or activation not in FUSED:
    return plain.scale_shift(x, scale, shift, activation)
  return _scale_shift(x, scale, shift, activation)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _scale_shift(x, scale, shift, activation):
  flat = x.reshape(1, -1, x.shape[-1])
  y = kernels.call(
    'norm_apply', flat.shape, flat, scale[None], shift[None], jnp.ones_like(scale)[None],
    activation=FUSED[activation],
  )
  return y.reshape(x.shape)


def _scale_shift_forward(x, scale, shift, activation):
  return _scale_shift(x, scale, shift, activation), (x, scale, shift)


def _scale_shift_backward(activation, residuals, gradient):
  pull = jax.vjp(lambda *arrays: plain.scale_shift(*arrays, activation), *residuals)[1]
  return pull(gradient)


_scale_shift.defvjp(_scale_shift_forward, _scale_shift_backward)


def add_bias(y, bias, activation):
  """`ops.convolution.add_bias`, in one pass together with the activation."""
  if bias is not None and activation:
    return scale_shift(y, jnp.ones_like(bias), bias, activation)
  return activate(y if bias is None else y + bias.astype(y.dtype)[None, None, None], activation)
