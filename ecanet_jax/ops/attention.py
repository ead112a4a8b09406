"""The two passes of channel attention over an image, beside plain references.

XLA would compute the gate again for every pixel of a CPU's fused loop, and sum over pixels channel
by channel. The kernels are BatchNorm's: a group is an image.

Behind BatchNorm in training, attention takes part in BatchNorm's own passes, see `Normalised`:

    without attention     moments of x; write y;                        sums for dx; write dx
    attention behind it   moments of x; write y * w;                    sums for dx; write dx
    with an activation    moments of x; write y and sum it; y *= w;     sums for dx; write dx

Without an activation the squeeze is linear in the moments, so attention adds no pass at all. With
one, reading x again to sum act(z) cost more on a CPU than y *= w: exponentials are dear.
"""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from ecanet_jax.ops import cpu
from ecanet_jax.ops.batch_norm import ACTIVATIONS, slope_and_constant, statistics


def squeeze(x: jax.Array) -> jax.Array:
  """Mean over the pixels in float32: `[B, H, W, C]` -> `[B, 1, 1, C]` (SENet, Eq. 2)."""
  return _native_squeeze(x) if cpu.usable(x) else plain_squeeze(x)


def reweight(x: jax.Array, weights: jax.Array) -> jax.Array:
  """x * weights with one weight per image and channel (SENet, Eq. 4).

  Args:
    x: `[B, H, W, C]`.
    weights: `[B, 1, 1, C]`, in x's type.
  """
  one_each = weights.shape == (x.shape[0], 1, 1, x.shape[-1])
  if one_each and cpu.usable(x, weights):
    return _native_reweight(x, weights)
  return plain_reweight(x, weights)


@partial(jax.tree_util.register_dataclass, data_fields=['squeezed', 'link'],
         meta_fields=['activation'])
@dataclasses.dataclass(frozen=True)
class Normalised:
  """BatchNorm's result with its activation, not written yet; for one call of `attend`.

  Attributes:
    squeezed: its mean over the pixels, `[B, 1, 1, C]`.
    link: what `_write` makes it of, and zeros whose gradients carry what `_write` knows to
      `_normalise`, which alone gives x a gradient.
    activation: a name of `ops.batch_norm.ACTIVATIONS`.
  """

  squeezed: jax.Array
  link: tuple[jax.Array, ...]
  activation: str

  @property
  def shape(self) -> tuple[int, ...]:
    """`[B, H, W, C]`."""
    return self.link[0].shape


def normalised(
  x: jax.Array, scale: jax.Array, bias: jax.Array, origin: jax.Array, eps: float,
  activation: str = '', groups: int = 1,
) -> tuple[Normalised, jax.Array, jax.Array]:
  """BatchNorm in training for an attention behind it; where `native.usable(x, scale)`.

  Args:
    x: `[B, H, W, C]`; every B / groups images have statistics of their own.
    scale, bias, origin, eps, activation: see `ops.batch_norm.batch_norm`.
    groups: divides B.

  Returns:
    The result to be, mean and biased variance `[groups, C]`.
  """
  squeezed, mean, var, link = _normalise(
    x, scale, bias, lax.stop_gradient(origin), eps, activation, groups
  )
  return Normalised(squeezed, link, activation), mean, var


def attend(
  x: jax.Array | Normalised, weights_of: Callable[[jax.Array], jax.Array]
) -> jax.Array:
  """reweight(x, weights_of(squeeze(x))), with one pass for both of x's gradients.

  x gets one gradient through the weights' product and one through the mean; each by itself would
  write an image that only their sum needs.

  Args:
    x: `[B, H, W, C]`.
    weights_of: `[B, 1, 1, C]` in float32 to weights in x's type.
  """
  if isinstance(x, Normalised):
    weights, ones = weights_of(x.squeezed), jnp.ones_like(x.squeezed)
    if weights.shape != ones.shape or weights.dtype != ones.dtype:
      return reweight(_write(x.link, ones, x.activation), weights)
    return _write(x.link, weights, x.activation)
  if not cpu.usable(x):
    return plain_reweight(x, weights_of(plain_squeeze(x)))
  squeezed, image, link = _enter(x)
  weights = weights_of(squeezed)
  if weights.shape != link.shape or weights.dtype != x.dtype:
    return reweight(x, weights)
  return _leave(image, weights, link)


@partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def _normalise(x, scale, bias, origin, eps, activation, groups):
  """`squeezed`, mean and variance, and the `link` of a `Normalised`."""
  return _normalise_forward(x, scale, bias, origin, eps, activation, groups)[0]


def _normalise_forward(x, scale, bias, origin, eps, activation, groups):
  flat, pixels = x.reshape(_pixels(x)), x.shape[1] * x.shape[2]
  shape = (x.shape[0], x.shape[3])
  first, second = cpu.call('norm_moments', [shape] * 2, flat, origin)
  mean, var, inverse = statistics(
    _group_means(first / pixels, groups), _group_means(second / pixels, groups), origin, eps
  )
  factor = scale[None] * inverse
  to_images = lambda array: jnp.repeat(array, x.shape[0] // groups, 0)
  means, factors, shifts = map(to_images, (mean, factor, bias[None] - mean * factor))
  deviation = first - pixels * (means - origin[None])  # sums of x - mean
  if activation:
    y, total = cpu.call(
      'norm_apply_sum', [flat.shape, shape], flat, factors, shifts,
      activation=ACTIVATIONS[activation],
    )
    mean_of_y = total / pixels
  else:
    y, mean_of_y = flat, deviation / pixels * factors + bias[None]
  link = (x, y, factors, shifts, means, (jnp.zeros(shape, x.dtype),) * 5)
  residuals = (x, factor, inverse, factors, shifts, means, deviation)
  return (mean_of_y[:, None, None], mean, var, link), residuals


def _normalise_backward(eps, activation, groups, residuals, gradients):
  x, factor, inverse, factors, shifts, means, deviation = residuals
  dsqueezed, _, _, (gradient, *_, sums) = gradients
  first, second, slopes, moment, gate = sums  # see `_write_backward`
  pixels = x.shape[1] * x.shape[2]
  if not activation:
    slopes, moment = pixels, deviation
  addend = dsqueezed[:, 0, 0] / pixels
  first = _group_means(first * gate + addend * slopes, groups) / pixels
  second = _group_means(second * gate + addend * moment, groups) / pixels
  rows = pixels * (x.shape[0] // groups)
  dscale, dbias = rows * (second * inverse).sum(0), rows * first.sum(0)
  slope, constant = slope_and_constant(first, second, factor, inverse)
  to_images = lambda array: jnp.repeat(array, x.shape[0] // groups, 0)
  dx = cpu.call(
    'norm_input_gradient', _pixels(x), x.reshape(_pixels(x)), gradient.reshape(_pixels(x)),
    factors, shifts, means, to_images(slope), to_images(constant), gate, addend,
    activation=ACTIVATIONS[activation],
  )
  return dx.reshape(x.shape), dscale, dbias, jnp.zeros_like(dbias)


_normalise.defvjp(_normalise_forward, _normalise_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _write(link, weights, activation):
  """A `Normalised` times `[B, 1, 1, C]`."""
  x, y, factors, shifts, *_ = link
  gate = weights[:, 0, 0]
  if activation:
    y = cpu.call('norm_apply', y.shape, y, gate, jnp.zeros_like(gate), jnp.ones_like(gate),
                    in_place=True, activation=0)
  else:
    y = cpu.call('norm_apply', y.shape, y, factors, shifts, gate, activation=0)
  return y.reshape(x.shape)


def _write_forward(link, weights, activation):
  x, _, *rest = link
  return _write(link, weights, activation), (x, *rest, weights)


def _write_backward(activation, residuals, gradient):
  x, factors, shifts, means, _, weights = residuals
  arrays = (x.reshape(_pixels(x)), gradient.reshape(_pixels(x)), factors, shifts, means)
  shape, number = factors.shape, ACTIVATIONS[activation]
  if activation:
    first, second, product, slopes, moment = cpu.call(
      'norm_attended_sums', [shape] * 5, *arrays, activation=number
    )
  else:
    first, second = cpu.call('norm_gradient_sums', [shape] * 2, *arrays, activation=number)
    product = factors * second + (shifts + means * factors) * first
    slopes = moment = jnp.zeros_like(first)
  sums = (first, second, slopes, moment, weights[:, 0, 0])
  return (gradient, None, None, None, None, sums), product[:, None, None]


_write.defvjp(_write_forward, _write_backward)


def _group_means(array, groups):
  """`[B, C]` -> `[groups, C]`."""
  return array.reshape(groups, -1, array.shape[-1]).mean(1)


@jax.custom_vjp
def _enter(x):
  """The mean, x as it is, and zeros whose gradient `_leave` uses to hand over the weights."""
  return _native_squeeze(x), x, jnp.zeros((x.shape[0], 1, 1, x.shape[3]), x.dtype)


def _enter_forward(x):
  return _enter(x), None


def _enter_backward(_, gradients):
  squeezed, gradient, weights = gradients
  pixels = gradient.shape[1] * gradient.shape[2]
  dx = cpu.call(
    'norm_apply', _pixels(gradient), gradient.reshape(_pixels(gradient)), weights[:, 0, 0],
    squeezed[:, 0, 0] / pixels, jnp.ones_like(squeezed[:, 0, 0]), activation=0,
  )
  return (dx.reshape(gradient.shape),)


_enter.defvjp(_enter_forward, _enter_backward)


@jax.custom_vjp
def _leave(x, weights, link):
  return _native_reweight(x, weights)


def _leave_forward(x, weights, link):
  return _leave(x, weights, link), (x, weights)


def _leave_backward(residuals, gradient):
  x, weights = residuals
  return gradient, _weights_gradient(x, weights, gradient), weights  # see `_enter`


_leave.defvjp(_leave_forward, _leave_backward)


def plain_squeeze(x):
  """The plain reference."""
  return x.astype(jnp.promote_types(x.dtype, jnp.float32)).mean((1, 2), keepdims=True)


def plain_reweight(x, weights):
  """The plain reference."""
  return x * weights


@jax.custom_vjp
def _native_squeeze(x):
  total, _ = _sums(x)
  return total[:, None, None] / (x.shape[1] * x.shape[2])


def _squeeze_forward(x):
  return _native_squeeze(x), x.shape


def _squeeze_backward(shape, gradient):
  return (jnp.broadcast_to(gradient / (shape[1] * shape[2]), shape),)


_native_squeeze.defvjp(_squeeze_forward, _squeeze_backward)


@jax.custom_vjp
def _native_reweight(x, weights):
  flat = weights[:, 0, 0]
  y = cpu.call('norm_apply', _pixels(x), x.reshape(_pixels(x)), flat, jnp.zeros_like(flat),
                  jnp.ones_like(flat), activation=0)
  return y.reshape(x.shape)


def _reweight_forward(x, weights):
  return _native_reweight(x, weights), (x, weights)


def _reweight_backward(residuals, gradient):
  x, weights = residuals
  return _native_reweight(gradient, weights), _weights_gradient(x, weights, gradient)


def _weights_gradient(x, weights, gradient):
  flat = weights[:, 0, 0]
  zeros = jnp.zeros_like(flat)
  _, products = cpu.call(
    'norm_gradient_sums', [flat.shape] * 2, x.reshape(_pixels(x)), gradient.reshape(_pixels(x)),
    flat, zeros, zeros, activation=0,
  )
  return products[:, None, None]


_native_reweight.defvjp(_reweight_forward, _reweight_backward)


def _pixels(x):
  return x.shape[0], x.shape[1] * x.shape[2], x.shape[3]


def _sums(x):
  """Sums of the pixels and of their squares, `[B, C]`."""
  shape = _pixels(x)
  zeros = jnp.zeros(shape[-1:], x.dtype)
  return cpu.call('norm_moments', [(shape[0], shape[2])] * 2, x.reshape(shape), zeros)
