"""Anchors of a feature pyramid: boxes of fixed shapes around every cell of every level."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ecanet_jax.detection.presets import Preset

Shapes = Sequence[tuple[int, int]]


def anchors_of(level_shapes: Shapes, image_size: tuple[int, int], preset: Preset) -> jax.Array:
  """Anchors of all levels, row by row of cells, the shapes of a cell side by side.

  Args:
    level_shapes: rows and columns of each level, from the finest.
    image_size: height and width of the network's input, with its padding.
    preset: strides, scales, ratios and rounding.

  Returns:
    `[A, 4]` with `A = sum(rows * columns) * scales * ratios`.
  """
  return jnp.concatenate([
    _level(shape, image_size, stride, preset)
    for shape, stride in zip(level_shapes, preset.strides, strict=True)
  ])


def level_sizes(level_shapes: Shapes, preset: Preset) -> tuple[int, ...]:
  """The number of anchors of each level."""
  each = len(preset.anchor_scales) * len(preset.anchor_ratios)
  return tuple(rows * columns * each for rows, columns in level_shapes)


def cell_anchors(stride: int, preset: Preset) -> np.ndarray:
  """Anchors `[scales * ratios, 4]` of the cell at the origin; all scales of a ratio are together.

  torchvision's are centred on the corner of the cell, mmdetection's on its middle; both are rounded
  to whole pixels.
  """
  height = np.sqrt(np.asarray(preset.anchor_ratios, np.float32))
  sizes = stride * np.asarray(preset.anchor_scales)
  sizes = (np.trunc(sizes) if preset.whole_anchor_sizes else sizes).astype(np.float32)
  widths = ((np.float32(1.0) / height)[:, None] * sizes[None, :]).reshape(-1)
  heights = (height[:, None] * sizes[None, :]).reshape(-1)
  x, y = (widths - preset.pixel) / 2, (heights - preset.pixel) / 2
  middle = 0.5 * (stride - 1) if preset.pixel else 0.0
  return np.round(middle + np.stack([-x, -y, x, y], axis=1)).astype(np.float32)


def _level(shape: tuple[int, int], image_size: tuple[int, int], stride: int,
           preset: Preset) -> jax.Array:
  """The anchors of one level."""
  base = cell_anchors(stride, preset)
  row, column, number = _cells(shape, len(base))
  steps = [size // cells for size, cells in zip(image_size, shape, strict=True)]
  down, right = steps if preset.stride_from_shape else (stride, stride)
  y, x = (row * down).astype(jnp.float32), (column * right).astype(jnp.float32)
  each = [number == count for count in range(len(base))]
  return jnp.stack([
    corner + jnp.select(each, list(values)) for corner, values in zip((x, y, x, y), base.T,
                                                                      strict=True)], axis=-1)


def _cells(shape: tuple[int, int], each: int) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Row and column of the cell of each anchor of a level, and its number within the cell.

  They come from the anchor's index: on a TPU, a reshape of `[rows, columns, each]` is a copy. The
  barrier keeps XLA from computing every anchor while it compiles.
  """
  rows, columns = shape
  index = jnp.arange(rows * columns * each) + lax.optimization_barrier(jnp.int32(0))
  cell = index // each
  return cell // columns, cell % columns, index % each


def anchors_on_image(level_shapes: Shapes, image_size: jax.Array, preset: Preset,
                     multiple: int = 32) -> jax.Array:
  """Which anchors belong to cells of an image, padded to a multiple of `multiple` pixels.

  An image that is smaller than the network's input has more padding. What the network finds there
  is no proposal.

  Args:
    level_shapes: rows and columns of each level.
    image_size: height and width of the image without padding, `[2]`; may be traced.
    preset: its strides.
    multiple: pixels.

  Returns:
    `[A]`, True or False.
  """
  size = jnp.asarray(image_size)
  padded = jnp.ceil(size / multiple) * multiple
  each = len(preset.anchor_scales) * len(preset.anchor_ratios)
  masks = []
  for shape, stride in zip(level_shapes, preset.strides, strict=True):
    row, column, _ = _cells(shape, each)
    masks.append((row * stride < padded[0]) & (column * stride < padded[1]))
  return jnp.concatenate(masks)


def trainable_anchors(anchors: jax.Array, image_size: jax.Array, preset: Preset) -> jax.Array:
  """Which anchors `[A, 4]` take part in training: all, or those that stay within the image.

  mmdetection 1.0rc0: anchor_target.py, `anchor_inside_flags` with `allowed_border=0`.
  """
  if preset.border_anchors:
    return jnp.ones(anchors.shape[0], bool)
  height, width = jnp.asarray(image_size, anchors.dtype)
  x1, y1, x2, y2 = anchors.T
  return (x1 >= 0) & (y1 >= 0) & (x2 < width) & (y2 < height)
