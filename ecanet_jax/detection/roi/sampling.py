"""Where RoIAlign samples, on one axis of an image."""

import jax
import jax.numpy as jnp


def positions(start: jax.Array, length: jax.Array, bins: int, samples: int) -> jax.Array:
  """Positions of evenly spaced samples in the bins of a RoI.

  Args:
    start: of the RoIs, `[R]`, in cells.
    length: `[R]`, in cells.
    bins: of a RoI.
    samples: in a bin.

  Returns:
    `[R, bins, samples]`, in cells; the values of a map are at whole numbers.
  """
  each = (length / bins)[:, None, None]
  return (start[:, None, None] + jnp.arange(bins, dtype=jnp.float32)[None, :, None] * each
          + (jnp.arange(samples, dtype=jnp.float32) + 0.5)[None, None, :] * each / samples)


def neighbours(at: jax.Array, cells: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The two cells beside each position, and their weights in a linear interpolation.

  Up to a cell outside of the map the border's value holds; farther away it is 0.

  Args:
    at: positions, `[...]`.
    cells: length of the map, of a shape that broadcasts with `at`.

  Returns:
    Indices and weights, `[..., 2]`.
  """
  inside = (at >= -1.0) & (at <= cells)
  last = (cells - 1).astype(jnp.float32)
  at = jnp.clip(at, 0.0, last)
  low = jnp.floor(at)
  high = jnp.minimum(low + 1, last)
  upper = at - low
  weights = jnp.stack([1.0 - upper, upper], axis=-1) * inside[..., None]
  return jnp.stack([low, high], axis=-1).astype(jnp.int32), weights


def interpolation(at: jax.Array, cells: int) -> jax.Array:
  """The weights of all cells of a map at each position `[...]`, as `[..., cells]`."""
  index, weights = neighbours(at, jnp.asarray(cells))
  hits = index[..., None] == jnp.arange(cells).reshape((1,) * index.ndim + (-1,))
  return jnp.sum(jnp.where(hits, weights[..., None], 0.0), axis=-2)
