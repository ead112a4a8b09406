"""Channel attention over an image, alone and behind BatchNorm.

Channel attention is x * w with one weight per image and channel, and w comes from the means of x
over its pixels (Hu et al., Squeeze-and-Excitation Networks, Eq. 2-4). Behind BatchNorm both are one
map per image, y = x * a[n, c] + b[n, c], from sums that BatchNorm takes anyway.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ecanet_jax.ops.batch_norm import PIXELS, batch_norm, map_per_image

Weights = Callable[[jax.Array], jax.Array]  # [B, 1, 1, C] of means -> [B, 1, 1, C], both float32


def squeeze(x: jax.Array) -> jax.Array:
  """Mean over the pixels in float32: `[B, H, W, C]` -> `[B, 1, 1, C]`."""
  return x.astype(jnp.promote_types(x.dtype, jnp.float32)).mean(PIXELS, keepdims=True)


def reweight(x: jax.Array, weights: jax.Array) -> jax.Array:
  """x * weights in x's type, with weights `[B, 1, 1, C]` or one for every pixel."""
  return x * weights.astype(x.dtype)


def attend(x: jax.Array, weights_of: Weights) -> jax.Array:
  """Reweights `[B, H, W, C]` by `weights_of(squeeze(x))`."""
  return reweight(x, weights_of(squeeze(x)))


def batch_norm_attend(
  x: jax.Array, scale: jax.Array, bias: jax.Array, origin: jax.Array, eps: float,
  activation: str, groups: int, weights_of: Weights,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """`attend` applied to the result of `batch_norm`: one pass over x if there is no activation.

  Arguments and results are those of `batch_norm`.
  """
  if activation:
    y, mean, var = batch_norm(x, scale, bias, origin, eps, activation, groups)
    return attend(y, weights_of), mean, var
  factor, shift, squeezed, mean, var = map_per_image(x, scale, bias, origin, eps, groups)
  weights = weights_of(squeezed[:, None, None]).astype(factor.dtype)
  over_pixels = lambda value: value[:, None, None] * weights
  y = x.astype(factor.dtype) * over_pixels(factor) + over_pixels(shift)
  return y.astype(x.dtype), mean, var
