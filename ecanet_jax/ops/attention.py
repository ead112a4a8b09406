"""Channel attention over an image, alone and behind BatchNorm.

Channel attention is x * w with one weight per image and channel, and w comes from the means of x
over its pixels (Hu et al., Squeeze-and-Excitation Networks, Eq. 2-4). Behind BatchNorm both are one
map per image, y = x * a[n, c] + b[n, c], from sums that BatchNorm takes anyway.

With an activation f between, y = f(u) * w, where u = x * factor + shift and w comes from the means
of f(u). The gradient of `factor` and `shift` then needs w's own gradient, which is a sum over the
pixels, and plain autodiff takes one pass for each. Two rules change the order: every sum over the
pixels is per image and free of w and of its gradient, so that one pass takes all of them.
"""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from ecanet_jax.ops.activation import activate
from ecanet_jax.ops.batch_norm import map_per_image, normalisation

Weights = Callable[[jax.Array], jax.Array]  # [B, 1, 1, C] of means -> [B, 1, 1, C], both float32
Mean = Callable[[jax.Array], jax.Array]  # [..., H, W, C] -> [..., 1, 1, C]


def pixel_mean(x: jax.Array) -> jax.Array:
  """Mean over the pixels: `[..., H, W, C]` -> `[..., 1, 1, C]`."""
  return x.mean((-3, -2), keepdims=True)


def squeeze(x: jax.Array) -> jax.Array:
  """Mean over the pixels in float32: `[B, H, W, C]` -> `[B, 1, 1, C]`."""
  return pixel_mean(x.astype(jnp.promote_types(x.dtype, jnp.float32)))


def reweight(x: jax.Array, weights: jax.Array) -> jax.Array:
  """x * weights in x's type, with weights `[B, 1, 1, C]` or one for every pixel."""
  return x * weights.astype(x.dtype)


def attend(x: jax.Array, weights_of: Weights) -> jax.Array:
  """Reweights `[B, H, W, C]` by `weights_of(squeeze(x))`."""
  return reweight(x, weights_of(squeeze(x)))


def batch_norm_attend(
  x: jax.Array, scale: jax.Array, bias: jax.Array, origin: jax.Array, eps: float,
  activation: str, groups: int, weights_of: Weights, mean_of: Mean = pixel_mean,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """`attend` applied to the result of `batch_norm`, with fewer passes over x.

  Arguments and results are those of `batch_norm` and `attend`. `mean_of` computes the means of the
  result if there is an activation.
  """
  if not activation:
    factor, shift, squeezed, mean, var = map_per_image(x, scale, bias, origin, eps, groups)
    weights = weights_of(squeezed[:, None, None]).astype(factor.dtype)
    over_pixels = lambda value: value[:, None, None] * weights
    y = x.astype(factor.dtype) * over_pixels(factor) + over_pixels(shift)
    return y.astype(x.dtype), mean, var
  grouped, factor, shift, mean, var = normalisation(x, scale, bias, origin, eps, groups)
  activated = Activated(activation, x.dtype)
  squeezed = activated_mean(grouped, factor, shift, activated, mean_of)
  weights = weights_of(squeezed.reshape(x.shape[0], 1, 1, -1)).astype(factor.dtype)
  weights = weights.reshape(squeezed.shape)
  y = activated_product(grouped, factor, shift, weights, activated)
  return y.astype(x.dtype).reshape(x.shape), mean, var


def channel_conv(y: jax.Array, kernel: jax.Array, edge: str = 'constant') -> jax.Array:
  """Convolves over the channels: the sum of y's channels shifted k ways, each times a weight.

  Args:
    y: `[..., C]` with 4 axes.
    kernel: `[k, 1]`, or `[k, C]` for weights of each channel's own.
    edge: what is beyond the ends, a mode of `jnp.pad`.
  """
  k, channels = kernel.shape[0], y.shape[-1]
  padded = jnp.pad(y, ((0, 0), (0, 0), (0, 0), (k // 2, k // 2)), mode=edge)
  shifted = lambda i: lax.slice_in_dim(padded, i, i + channels, axis=3)
  return sum(shifted(i) * kernel[i][None, None, None] for i in range(k))


@dataclasses.dataclass(frozen=True)
class Activated:
  """An activation that is computed in the type of the images.

  Attributes:
    name: of `ACTIVATIONS`.
    dtype: type of the images.
  """

  name: str
  dtype: jnp.dtype

  def __call__(self, u: jax.Array) -> jax.Array:
    """The activation of u, in u's type."""
    return activate(u.astype(self.dtype), self.name).astype(u.dtype)

  def with_slope(self, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The activation and its derivative."""
    return jax.jvp(self, (u,), (jnp.ones_like(u),))


@partial(jax.custom_jvp, nondiff_argnums=(3, 4))
def activated_mean(
  x: jax.Array, factor: jax.Array, shift: jax.Array, activated: Activated, mean_of: Mean
) -> jax.Array:
  """Means of activated(x * factor + shift) over the pixels.

  Args:
    x: `[G, B, H, W, C]`, G groups of B images.
    factor: `[G, 1, 1, 1, C]`, as is `shift`.
    shift: see `factor`.
    activated: the activation.
    mean_of: computes the means.

  Returns:
    `[G, B, 1, 1, C]`.
  """
  return mean_of(activated(x * factor + shift))


@activated_mean.defjvp
def _activated_mean_jvp(activated, mean_of, primals, tangents):
  (x, factor, shift), (dx, dfactor, dshift) = primals, tangents
  y, slope = activated.with_slope(x * factor + shift)
  of_x, of_factor, of_shift = (pixel_mean(slope * each) for each in (dx, x, jnp.ones_like(x)))
  return mean_of(y), of_x * factor + of_factor * dfactor + of_shift * dshift


@partial(jax.custom_jvp, nondiff_argnums=(4,))
def activated_product(
  x: jax.Array, factor: jax.Array, shift: jax.Array, weights: jax.Array, activated: Activated
) -> jax.Array:
  """activated(x * factor + shift) * weights, with weights `[G, B, 1, 1, C]`; see `activated_mean`.
  """
  return activated(x * factor + shift) * weights


@activated_product.defjvp
def _activated_product_jvp(activated, primals, tangents):
  (x, factor, shift, weights), (dx, dfactor, dshift, dweights) = primals, tangents
  y, slope = activated.with_slope(x * factor + shift)
  # The weights multiply what is per image, so that no sum over the pixels has them inside.
  du = dx * (factor * weights) + x * (dfactor * weights) + dshift * weights
  return y * weights, slope * du + y * dweights

