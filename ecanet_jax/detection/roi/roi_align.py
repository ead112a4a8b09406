"""RoIAlign over a feature pyramid, in two forms with the same result.

He et al., Mask R-CNN (2017), section 3, with 2 x 2 samples a bin and no half-pixel shift, as
torchvision (`aligned=False`) and mmdetection 1.0rc0 have it.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from ecanet_jax.detection.presets import Preset
from ecanet_jax.detection.roi.levels import roi_levels
from ecanet_jax.detection.roi.sampling import interpolation, neighbours, positions

SAMPLES = 2  # of a bin, on each axis
DENSE_CELLS = 64 * 64  # of the finest level, up to which the dense form is chosen
CHUNK = 128  # RoIs at a time


def roi_align(features: tuple[jax.Array, ...], boxes: jax.Array, size: int, preset: Preset,
              method: str = '', chunk: int = CHUNK) -> jax.Array:
  """The features of RoIs, `size` x `size` bins each, every RoI from the level of its size.

  Coordinates and weights are float32, whatever the features are. The boxes get no gradient.

  Args:
    features: P2, P3, ... of one image, each `[H, W, C]`.
    boxes: `[R, 4]` in pixels of the network's input.
    size: bins on each axis.
    preset: strides and the rules of sides and levels.
    method: 'gather' reads the cells that a RoI needs; 'dense' multiplies the whole map by a RoI's
      weights; '' is dense for small maps.
    chunk: RoIs at a time, which bounds the memory.

  Returns:
    `[R, size, size, C]`.
  """
  rows, columns, _ = features[0].shape
  method = method or ('dense' if rows * columns <= DENSE_CELLS else 'gather')
  form = functools.partial({'gather': _gather, 'dense': _dense}[method],
                           features=features, size=size, preset=preset)
  boxes = lax.stop_gradient(boxes.astype(jnp.float32))
  if boxes.shape[0] <= chunk:
    return form(boxes)
  blocks = -(-boxes.shape[0] // chunk)
  padded = jnp.pad(boxes, ((0, blocks * chunk - boxes.shape[0]), (0, 0)))
  pooled = lax.map(form, padded.reshape(blocks, chunk, 4))
  return pooled.reshape(blocks * chunk, *pooled.shape[2:])[: boxes.shape[0]]


def _samples(boxes: jax.Array, stride: jax.Array, size: int,
             preset: Preset) -> tuple[jax.Array, jax.Array]:
  """Sampled rows and columns of a level, each `[R, size, SAMPLES]`; `stride` is `[R]`."""
  x1, y1, x2, y2 = boxes.T
  starts, ends = (y1, x1), (y2 + preset.pixel, x2 + preset.pixel)
  down, right = (
    positions(start / stride, jnp.maximum(end / stride - start / stride, preset.least_roi), size,
              SAMPLES)
    for start, end in zip(starts, ends, strict=True))
  return down, right


def _dense(boxes: jax.Array, features: tuple[jax.Array, ...], size: int,
           preset: Preset) -> jax.Array:
  """Every level times the weights of every RoI, which are 0 for RoIs of other levels."""
  level = roi_levels(boxes, len(features), preset)
  total = 0.0
  for number, (x, stride) in enumerate(zip(features, preset.strides, strict=False)):
    at = _samples(boxes, jnp.full_like(boxes[:, 0], stride), size, preset)
    down, right = (jnp.mean(interpolation(axis, cells), axis=2)
                   for axis, cells in zip(at, x.shape[:2], strict=True))
    down = down * (level == number)[:, None, None]
    product = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)
    lines = product('ruh,hwc->ruwc', down.astype(x.dtype), x)
    total = total + product('rvw,ruwc->ruvc', right.astype(x.dtype), lines)
  return total


def _gather(boxes: jax.Array, features: tuple[jax.Array, ...], size: int,
            preset: Preset) -> jax.Array:
  """The cells of all levels in one table, of which a RoI reads the neighbours of its samples."""
  level = roi_levels(boxes, len(features), preset)
  table = jnp.concatenate([x.reshape(-1, x.shape[-1]) for x in features])
  rows, columns = (jnp.asarray([x.shape[axis] for x in features]) for axis in (0, 1))
  starts = jnp.cumsum(rows * columns) - rows * columns
  stride = jnp.asarray(preset.strides[: len(features)], jnp.float32)[level]
  down, right = _samples(boxes, stride, size, preset)
  y, y_weights = neighbours(down, rows[level][:, None, None])
  x, x_weights = neighbours(right, columns[level][:, None, None])
  count = boxes.shape[0]
  y, x = y.reshape(count, -1), x.reshape(count, -1)
  index = (starts[level][:, None, None] + y[:, :, None] * columns[level][:, None, None]
           + x[:, None, :])
  cells = table[index].reshape(count, size, 2 * SAMPLES, size, 2 * SAMPLES, -1)
  y_weights, x_weights = (
    (weights / SAMPLES).reshape(count, size, 2 * SAMPLES).astype(table.dtype)
    for weights in (y_weights, x_weights))
  product = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)
  lines = product('rua,ruavbc->ruvbc', y_weights, cells)
  return product('rvb,ruvbc->ruvc', x_weights, lines)
