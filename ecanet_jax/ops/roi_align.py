"""RoIAlign: bilinear samples of maps, averaged over the bins of regions of interest.

He et al., Mask R-CNN (2017), section 3.
"""

import jax
import jax.numpy as jnp
from jax import lax


def positions(start: jax.Array, each: jax.Array, bins: int, samples: int) -> jax.Array:
  """Positions of evenly spaced samples in the bins of RoIs, on one axis.

  Args:
    start: of the RoIs, `[R]`, in cells.
    each: length of a bin, `[R]`, in cells.
    bins: of a RoI.
    samples: in a bin.

  Returns:
    `[R, bins, samples]`, in cells; the values of a map are at whole numbers.
  """
  each = each[:, None, None]
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


def roi_align(cells: jax.Array, rois: jax.Array, size: int, samples: int) -> jax.Array:
  """The mean of `samples` x `samples` bilinear samples in each bin of each RoI.

  Args:
    cells: the cells of one or more maps, map by map and row by row, `[P, C]`.
    rois: `[R, 7]`, float32, without a gradient: number of the map's first cell, its rows and
      columns; top and left of the RoI, height and width of a bin, in cells of its map.
    size: bins on each axis.
    samples: in a bin, on each axis.

  Returns:
    `[R, size, size, C]`.
  """
  first, rows, columns = (rois[:, number].astype(jnp.int32) for number in range(3))
  count = rois.shape[0]

  def axis(start: jax.Array, each: jax.Array, length: jax.Array):
    index, weights = neighbours(positions(start, each, size, samples), length[:, None, None])
    weights = (weights / samples).reshape(count, size, 2 * samples).astype(cells.dtype)
    return index.reshape(count, -1), weights

  y, down = axis(rois[:, 3], rois[:, 5], rows)
  x, across = axis(rois[:, 4], rois[:, 6], columns)
  index = first[:, None, None] + y[:, :, None] * columns[:, None, None] + x[:, None, :]
  read = cells[index].reshape(count, size, 2 * samples, size, 2 * samples, -1)
  lines = jnp.einsum('rua,ruavbc->ruvbc', down, read, precision=lax.Precision.HIGHEST)
  return jnp.einsum('rvb,ruvbc->ruvc', across, lines, precision=lax.Precision.HIGHEST)
