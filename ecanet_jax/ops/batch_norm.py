"""BatchNorm with the activation behind it (Ioffe and Szegedy, 2015)."""

import jax
import jax.numpy as jnp
from jax import lax

from ecanet_jax.ops.activation import activate

PIXELS = (1, 2)  # the axes H and W


def batch_norm(
  x: jax.Array, scale: jax.Array, bias: jax.Array, origin: jax.Array, eps: float,
  activation: str = '', groups: int = 1,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Normalises each group of images by its own mean and variance, as in training.

  Args:
    x: `[B, H, W, C]`; every B / groups neighbours are a group.
    scale: `[C]`, in the type of the statistics, as are `bias` and `origin`.
    bias: `[C]`.
    origin: `[C]`, near the mean, such as the running mean. The variance is
      E[d^2] - E[d]^2 of d = x - origin, which is exact for large means. Not differentiated.
    eps: added to the variance.
    activation: a name of `ACTIVATIONS`, applied to the result.
    groups: divides B.

  Returns:
    `[B, H, W, C]` in x's type; mean and biased variance `[groups, C]`, not differentiated.
  """
  grouped, factor, shift, mean, var = normalisation(x, scale, bias, origin, eps, groups)
  y = (grouped * factor + shift).astype(x.dtype)
  return activate(y, activation).reshape(x.shape), mean, var


def normalisation(
  x: jax.Array, scale: jax.Array, bias: jax.Array, origin: jax.Array, eps: float, groups: int
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
  """BatchNorm as one map per group, `grouped * factor + shift`.

  Returns:
    x as `[groups, B / groups, H, W, C]` in the type of the statistics; factor and shift
    `[groups, 1, 1, 1, C]`; mean and biased variance `[groups, C]`, not differentiated.
  """
  origin = lax.stop_gradient(origin)
  grouped = x.reshape(groups, -1, *x.shape[1:]).astype(scale.dtype)
  centred = grouped - origin[None, None, None, None]
  first, second = (value.mean((1, 2, 3)) for value in (centred, jnp.square(centred)))
  mean, var, inverse = statistics(first, second, origin, eps)
  factor = scale[None] * inverse
  shift = bias[None] - mean * factor
  over_pixels = lambda value: value[:, None, None, None]
  return (
    grouped, over_pixels(factor), over_pixels(shift), lax.stop_gradient(mean),
    lax.stop_gradient(var),
  )


def map_per_image(
  x: jax.Array, scale: jax.Array, bias: jax.Array, origin: jax.Array, eps: float, groups: int
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
  """BatchNorm as one map per image, `x * factor + shift`, with the mean of its result.

  The sums are taken per image, so the mean of each normalised image needs no further pass.

  Returns:
    factor, shift and the mean of the result, each `[B, C]`; mean and biased variance `[groups, C]`,
    not differentiated.
  """
  origin = lax.stop_gradient(origin)
  centred = x.astype(scale.dtype) - origin[None, None, None]
  firsts, seconds = (value.mean(PIXELS) for value in (centred, jnp.square(centred)))  # [B, C]
  first, second = (of_groups(value, groups) for value in (firsts, seconds))
  mean, var, inverse = statistics(first, second, origin, eps)
  to_images = lambda value: jnp.repeat(value, x.shape[0] // groups, 0)
  factor = to_images(scale[None] * inverse)
  shift = bias[None] - to_images(mean) * factor
  squeezed = (firsts - to_images(first)) * factor + bias[None]
  return factor, shift, squeezed, lax.stop_gradient(mean), lax.stop_gradient(var)


def statistics(
  first: jax.Array, second: jax.Array, origin: jax.Array, eps: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Mean, variance and 1 / sqrt(variance + eps) `[G, C]` from the means of d = x - origin and d^2.
  """
  mean, var = first + origin[None], jnp.maximum(second - jnp.square(first), 0.0)
  return mean, var, lax.rsqrt(var + eps)


def of_groups(values: jax.Array, groups: int) -> jax.Array:
  """Means over each group's images: `[B, C]` -> `[groups, C]`."""
  return values.reshape(groups, -1, values.shape[-1]).mean(1)


def scale_shift(
  x: jax.Array, scale: jax.Array, shift: jax.Array, activation: str = ''
) -> jax.Array:
  """activation(x * scale + shift): BatchNorm in evaluation.

  Args:
    x: `[B, H, W, C]`.
    scale: `[C]`, as is `shift`; the product is computed in their type.
    shift: `[C]`.
    activation: a name of `ACTIVATIONS`.
  """
  y = x.astype(scale.dtype) * scale[None, None, None] + shift[None, None, None]
  return activate(y.astype(x.dtype), activation)
