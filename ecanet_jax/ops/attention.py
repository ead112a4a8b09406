"""The two passes of channel attention over an image, beside plain references.

XLA would compute the gate again for every pixel of a CPU's fused loop, and sum over pixels channel
by channel. The kernels are BatchNorm's: a group is an image.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ecanet_jax.ops import native


def squeeze(x: jax.Array) -> jax.Array:
  """Mean over the pixels in float32: `[B, H, W, C]` -> `[B, 1, 1, C]` (SENet, Eq. 2)."""
  return _native_squeeze(x) if native.usable(x) else plain_squeeze(x)


def reweight(x: jax.Array, weights: jax.Array) -> jax.Array:
  """x * weights with one weight per image and channel (SENet, Eq. 4).

  Args:
    x: `[B, H, W, C]`.
    weights: `[B, 1, 1, C]`, in x's type.
  """
  one_each = weights.shape == (x.shape[0], 1, 1, x.shape[-1])
  if one_each and native.usable(x, weights):
    return _native_reweight(x, weights)
  return plain_reweight(x, weights)


def attend(x: jax.Array, weights_of: Callable[[jax.Array], jax.Array]) -> jax.Array:
  """reweight(x, weights_of(squeeze(x))), with one pass for both of x's gradients.

  x gets one gradient through the weights' product and one through the mean; each by itself would
  write an image that only their sum needs.

  Args:
    x: `[B, H, W, C]`.
    weights_of: `[B, 1, 1, C]` in float32 to weights in x's type.
  """
  if not native.usable(x):
    return plain_reweight(x, weights_of(plain_squeeze(x)))
  squeezed, image, link = _enter(x)
  weights = weights_of(squeezed)
  if weights.shape != link.shape or weights.dtype != x.dtype:
    return reweight(x, weights)
  return _leave(image, weights, link)


@jax.custom_vjp
def _enter(x):
  """The mean, x as it is, and zeros whose gradient `_leave` uses to hand over the weights."""
  return _native_squeeze(x), x, jnp.zeros((x.shape[0], 1, 1, x.shape[3]), x.dtype)


def _enter_forward(x):
  return _enter(x), None


def _enter_backward(_, gradients):
  squeezed, gradient, weights = gradients
  pixels = gradient.shape[1] * gradient.shape[2]
  dx = native.call(
    'norm_apply', _pixels(gradient), gradient.reshape(_pixels(gradient)), weights[:, 0, 0],
    squeezed[:, 0, 0] / pixels, activation=0,
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
  y = native.call('norm_apply', _pixels(x), x.reshape(_pixels(x)), flat, jnp.zeros_like(flat),
                  activation=0)
  return y.reshape(x.shape)


def _reweight_forward(x, weights):
  return _native_reweight(x, weights), (x, weights)


def _reweight_backward(residuals, gradient):
  x, weights = residuals
  return _native_reweight(gradient, weights), _weights_gradient(x, weights, gradient)


def _weights_gradient(x, weights, gradient):
  flat = weights[:, 0, 0]
  zeros = jnp.zeros_like(flat)
  _, products = native.call(
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
  return native.call('norm_moments', [(shape[0], shape[2])] * 2, x.reshape(shape), zeros)
