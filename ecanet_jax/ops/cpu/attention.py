"""Channel attention on a CPU, alone and behind BatchNorm.

XLA would compute the gate anew for every pixel, and sum over pixels channel by channel. Here,
attention behind BatchNorm shares BatchNorm's passes in training:

    without attention       moments of x; write y;                        sums for dx; write dx
    with attention          moments of x; write y * w;                    sums for dx; write dx
    after an activation     moments of x; write y and sum it; y *= w;     sums for dx; write dx

Without an activation the means of y follow from the moments of x.

Each operation is two functions with custom gradients, since the gate is computed between them. The
gradient of the first needs what the second's gradient has computed. The first therefore returns
zeros that the second takes and ignores; their "gradients" carry those values back.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from ecanet_jax.ops import attention as plain
from ecanet_jax.ops.batch_norm import of_groups, statistics
from ecanet_jax.ops.cpu import kernels
from ecanet_jax.ops.cpu.batch_norm import slope_and_constant
from ecanet_jax.ops.cpu.kernels import FUSED


def attend(x, weights_of):
  """`ops.attention.attend`; its gradient is one pass over x."""
  if not kernels.usable(x):
    return plain.attend(x, weights_of)
  squeezed, image, link = _enter(x)
  return _leave(image, weights_of(squeezed), link)


def batch_norm_attend(x, scale, bias, origin, eps, activation, groups, weights_of):
  """`ops.attention.batch_norm_attend`."""
  if activation not in FUSED or not kernels.usable(x, scale):
    return plain.batch_norm_attend(
      x, scale, bias, origin, eps, activation, groups, weights_of
    )
  squeezed, mean, var, link = _moments(
    x, scale, bias, lax.stop_gradient(origin), eps, activation, groups
  )
  return _write(link, weights_of(squeezed), activation), mean, var


@partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def _moments(x, scale, bias, origin, eps, activation, groups):
  """First half of BatchNorm with attention: statistics, and everything `_write` needs.

  Returns:
    The mean of each normalised image `[B, 1, 1, C]`; mean and variance `[groups, C]`; the input of
    `_write`. That input ends in five arrays of zeros whose gradients are the sums of
    `_write_backward`. x gets its whole gradient here.
  """
  return _moments_forward(x, scale, bias, origin, eps, activation, groups)[0]


def _moments_forward(x, scale, bias, origin, eps, activation, groups):
  flat, pixels = x.reshape(_pixels(x)), x.shape[1] * x.shape[2]
  shape = (x.shape[0], x.shape[3])
  first, second = kernels.call('norm_moments', [shape] * 2, flat, origin)
  mean, var, inverse = statistics(
    of_groups(first / pixels, groups), of_groups(second / pixels, groups), origin, eps
  )
  factor = scale[None] * inverse
  to_images = lambda array: jnp.repeat(array, x.shape[0] // groups, 0)
  means, factors, shifts = map(to_images, (mean, factor, bias[None] - mean * factor))
  deviation = first - pixels * (means - origin[None])  # sums of x - mean
  if activation:
    y, total = kernels.call(
      'norm_apply_sum', [flat.shape, shape], flat, factors, shifts,
      activation=FUSED[activation],
    )
    mean_of_y = total / pixels
  else:
    y, mean_of_y = flat, deviation / pixels * factors + bias[None]
  link = (x, y, factors, shifts, means, (jnp.zeros(shape, x.dtype),) * 5)
  residuals = (x, factor, inverse, factors, shifts, means, deviation)
  return (mean_of_y[:, None, None], mean, var, link), residuals


def _moments_backward(eps, activation, groups, residuals, gradients):
  x, factor, inverse, factors, shifts, means, deviation = residuals
  dsqueezed, _, _, (gradient, *_, sums) = gradients
  first, second, slopes, moment, gate = sums  # see `_write_backward`
  pixels = x.shape[1] * x.shape[2]
  if not activation:
    slopes, moment = pixels, deviation
  addend = dsqueezed[:, 0, 0] / pixels
  first = of_groups(first * gate + addend * slopes, groups) / pixels
  second = of_groups(second * gate + addend * moment, groups) / pixels
  rows = pixels * (x.shape[0] // groups)
  dscale, dbias = rows * (second * inverse).sum(0), rows * first.sum(0)
  slope, constant = slope_and_constant(first, second, factor, inverse)
  to_images = lambda array: jnp.repeat(array, x.shape[0] // groups, 0)
  dx = kernels.call(
    'norm_input_gradient', _pixels(x), x.reshape(_pixels(x)), gradient.reshape(_pixels(x)),
    factors, shifts, means, to_images(slope), to_images(constant), gate, addend,
    activation=FUSED[activation],
  )
  return dx.reshape(x.shape), dscale, dbias, jnp.zeros_like(dbias)


_moments.defvjp(_moments_forward, _moments_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _write(link, weights, activation):
  """Second half: the normalised image times `weights`, `[B, 1, 1, C]`."""
  x, y, factors, shifts, *_ = link
  gate = weights[:, 0, 0]
  if activation:
    y = kernels.call('norm_apply', y.shape, y, gate, jnp.zeros_like(gate), jnp.ones_like(gate),
                    in_place=True, activation=0)
  else:
    y = kernels.call('norm_apply', y.shape, y, factors, shifts, gate, activation=0)
  return y.reshape(x.shape)


def _write_forward(link, weights, activation):
  x, _, *rest = link
  return _write(link, weights, activation), (x, *rest, weights)


def _write_backward(activation, residuals, gradient):
  x, factors, shifts, means, _, weights = residuals
  arrays = (x.reshape(_pixels(x)), gradient.reshape(_pixels(x)), factors, shifts, means)
  shape, number = factors.shape, FUSED[activation]
  if activation:
    first, second, product, slopes, moment = kernels.call(
      'norm_attended_sums', [shape] * 5, *arrays, activation=number
    )
  else:
    first, second = kernels.call('norm_gradient_sums', [shape] * 2, *arrays, activation=number)
    product = factors * second + (shifts + means * factors) * first
    slopes = moment = jnp.zeros_like(first)
  sums = (first, second, slopes, moment, weights[:, 0, 0])
  return (gradient, None, None, None, None, sums), product[:, None, None]


_write.defvjp(_write_forward, _write_backward)


@jax.custom_vjp
def _enter(x):
  """First half of `attend`: means, x, and zeros whose gradient from `_leave` is the weights."""
  return _squeeze(x), x, jnp.zeros((x.shape[0], 1, 1, x.shape[3]), x.dtype)


def _enter_forward(x):
  return _enter(x), None


def _enter_backward(_, gradients):
  squeezed, gradient, weights = gradients
  pixels = gradient.shape[1] * gradient.shape[2]
  dx = kernels.call(
    'norm_apply', _pixels(gradient), gradient.reshape(_pixels(gradient)), weights[:, 0, 0],
    squeezed[:, 0, 0] / pixels, jnp.ones_like(squeezed[:, 0, 0]), activation=0,
  )
  return (dx.reshape(gradient.shape),)


_enter.defvjp(_enter_forward, _enter_backward)


@jax.custom_vjp
def _leave(x, weights, link):
  """Second half of `attend`: x * weights."""
  return _reweight(x, weights)


def _leave_forward(x, weights, link):
  return _leave(x, weights, link), (x, weights)


def _leave_backward(residuals, gradient):
  x, weights = residuals
  return gradient, _weights_gradient(x, weights, gradient), weights


_leave.defvjp(_leave_forward, _leave_backward)


def _squeeze(x):
  shape = _pixels(x)
  zeros = jnp.zeros(shape[-1:], x.dtype)
  total, _ = kernels.call('norm_moments', [(shape[0], shape[2])] * 2, x.reshape(shape), zeros)
  return total[:, None, None] / shape[1]


def _reweight(x, weights):
  flat = weights[:, 0, 0]
  y = kernels.call(
    'norm_apply', _pixels(x), x.reshape(_pixels(x)), flat, jnp.zeros_like(flat),
    jnp.ones_like(flat), activation=0,
  )
  return y.reshape(x.shape)


def _weights_gradient(x, weights, gradient):
  flat = weights[:, 0, 0]
  zeros = jnp.zeros_like(flat)
  _, products = kernels.call(
    'norm_gradient_sums', [flat.shape] * 2, x.reshape(_pixels(x)), gradient.reshape(_pixels(x)),
    flat, zeros, zeros, activation=0,
  )
  return products[:, None, None]


def _pixels(x):
  return x.shape[0], x.shape[1] * x.shape[2], x.shape[3]
