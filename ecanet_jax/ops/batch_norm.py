"""BatchNorm in training, with the activation behind it, beside a plain reference.

On a CPU, XLA sums over pixels channel by channel and makes a pass over the images for each of the
many sums and products of the gradient. `native` makes four passes by kernels of our own: the
moments; the normalised image with its activation; the two sums that the gradient needs; and the
gradient, in which the activation's slope is computed again instead of being kept.
docs/performance.md has the figures.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from ecanet_jax.ops import cpu

# Of the kernels; their numbers there.
ACTIVATIONS = {'': 0, 'relu': 1, 'relu6': 2, 'swish': 3}


def batch_norm(
  x: jax.Array, scale: jax.Array, bias: jax.Array, origin: jax.Array, eps: float,
  activation: str = '', implementation: str = 'auto',
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Normalises each group by its own mean and variance (Ioffe and Szegedy, 2015).

  Args:
    x: `[G, R, C]`: G groups of R pixels.
    scale: `[C]`, in the type of the statistics, as are `bias` and `origin`.
    bias: `[C]`.
    origin: `[C]`, near the mean: one pass gives mean and variance of x - origin, which keeps
      E[d^2] - E[d]^2 exact when means are large. Nothing is differentiated by it.
    eps: added to the variance.
    activation: a name of ACTIVATIONS, applied to the result; '' = none.
    implementation: a name of IMPLEMENTATIONS, or 'auto' for the backend's own.

  Returns:
    `[G, R, C]` in x's type; mean and biased variance `[G, C]`, through which nothing is
    differentiated.

  Raises:
    ValueError: the implementation is not known, or does not apply here.
  """
  if implementation not in ('auto', *IMPLEMENTATIONS):
    known = ', '.join(['auto', *IMPLEMENTATIONS])
    raise ValueError(f'unknown batch_norm implementation {implementation!r}. Known: {known}.')
  fits = cpu.usable(x, scale)
  if implementation == 'auto':
    implementation = BACKEND.get(jax.default_backend(), 'plain') if fits else 'plain'
  if implementation == 'native' and not fits:
    raise ValueError(
      f"batch_norm implementation 'native' is for one CPU device and float32 or float64, and needs "
      f'a C++ compiler; here {jax.device_count()} {jax.default_backend()} devices, {x.dtype.name}. '
      "Take 'auto'."
    )
  origin = lax.stop_gradient(origin)
  return IMPLEMENTATIONS[implementation](x, scale, bias, origin, eps, activation)


def plain_batch_norm(x, scale, bias, origin, eps, activation):
  """The plain reference: what autodiff makes of the definition."""
  centred = x.astype(scale.dtype) - origin[None, None]
  first = centred.mean(1)  # [G, C]
  var = jnp.maximum(jnp.square(centred).mean(1) - jnp.square(first), 0.0)
  mean = first + origin[None]
  factor = scale[None] * lax.rsqrt(var + eps)
  shift = bias[None] - mean * factor
  y = (x.astype(scale.dtype) * factor[:, None] + shift[:, None]).astype(x.dtype)
  y = getattr(nn, activation)(y) if activation else y
  return y, lax.stop_gradient(mean), lax.stop_gradient(var)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def native_batch_norm(x, scale, bias, origin, eps, activation):
  """The same by kernels of our own for the CPU."""
  return _native_forward(x, scale, bias, origin, eps, activation)[0]


def _native_forward(x, scale, bias, origin, eps, activation):
  rows = x.shape[1]
  first, second = cpu.call('norm_moments', [(x.shape[0], x.shape[2])] * 2, x, origin)
  mean, var, inverse = statistics(first / rows, second / rows, origin, eps)
  factor = scale[None] * inverse
  shift = bias[None] - mean * factor
  y = cpu.call(
    'norm_apply', x.shape, x, factor, shift, jnp.ones_like(factor),
    activation=ACTIVATIONS[activation],
  )
  return (y, mean, var), (x, factor, shift, mean, inverse)


def _native_backward(eps, activation, residuals, gradients):
  x, factor, shift, mean, inverse = residuals
  gradient = gradients[0]
  number = ACTIVATIONS[activation]
  first, second = cpu.call(
    'norm_gradient_sums', [factor.shape] * 2, x, gradient, factor, shift, mean, activation=number
  )
  dscale, dbias = (second * inverse).sum(0), first.sum(0)
  rows = x.shape[1]
  slope, constant = slope_and_constant(first / rows, second / rows, factor, inverse)
  dx = cpu.call(
    'norm_input_gradient', x.shape, x, gradient, factor, shift, mean, slope, constant,
    jnp.ones_like(factor), jnp.zeros_like(factor), activation=number,
  )
  return dx, dscale, dbias, jnp.zeros_like(dbias)


def statistics(first, second, origin, eps):
  """Mean, variance and 1 / sqrt(variance + eps) `[G, C]` from means of d = x - origin and d^2."""
  mean, var = first + origin[None], jnp.maximum(second - jnp.square(first), 0.0)
  return mean, var, lax.rsqrt(var + eps)


def slope_and_constant(first, second, factor, inverse):
  """What BatchNorm's gradient by x has beside gz * factor: (x - mean) * slope + constant.

  Args:
    first: mean of gz over a group's pixels, `[G, C]`; gz is the gradient before the activation.
    second: mean of gz * (x - mean).
    factor: scale * inverse.
    inverse: 1 / sqrt(variance + eps).
  """
  return -factor * jnp.square(inverse) * second, -factor * first


native_batch_norm.defvjp(_native_forward, _native_backward)


def scale_shift(
  x: jax.Array, scale: jax.Array, shift: jax.Array, activation: str = '',
  implementation: str = 'auto',
) -> jax.Array:
  """x * scale + shift and the activation in one pass: BatchNorm in evaluation, or a bias.

  Args:
    x: `[..., C]`.
    scale: `[C]`, float32.
    shift: `[C]`, float32.
    activation: a name of ACTIVATIONS; '' = none.
    implementation: 'plain', or else the kernels where they can be used.
  """
  if implementation != 'plain' and cpu.usable(x, scale):
    return _native_scale_shift(x, scale, shift, activation)
  return _plain_scale_shift(x, scale, shift, activation)


def add_bias(y: jax.Array, bias: jax.Array, activation: str = '') -> jax.Array:
  """act(y + bias) for `[..., C]` and `[C]`; `activation` as for `scale_shift`."""
  if not activation:
    return y + bias.astype(y.dtype)[(None,) * (y.ndim - 1)]
  return scale_shift(y, jnp.ones_like(bias), bias, activation)


def _plain_scale_shift(x, scale, shift, activation):
  over = (None,) * (x.ndim - 1)
  y = (x.astype(scale.dtype) * scale[over] + shift[over]).astype(x.dtype)
  return getattr(nn, activation)(y) if activation else y


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _native_scale_shift(x, scale, shift, activation):
  flat = x.reshape(1, -1, x.shape[-1])
  number = ACTIVATIONS[activation]
  y = cpu.call(
    'norm_apply', flat.shape, flat, scale[None], shift[None], jnp.ones_like(scale)[None],
    activation=number,
  )
  return y.reshape(x.shape)


def _scale_shift_forward(x, scale, shift, activation):
  return _native_scale_shift(x, scale, shift, activation), (x, scale, shift)


def _scale_shift_backward(activation, residuals, gradient):
  x, scale, shift = residuals
  pull = jax.vjp(lambda *a: _plain_scale_shift(*a, activation), x, scale, shift)[1]
  return pull(gradient)


_native_scale_shift.defvjp(_scale_shift_forward, _scale_shift_backward)

IMPLEMENTATIONS = {'native': native_batch_norm, 'plain': plain_batch_norm}
BACKEND = {'cpu': 'native'}
