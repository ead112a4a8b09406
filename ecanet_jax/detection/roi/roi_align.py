"""RoIAlign over a feature pyramid, in two forms with the same result.

He et al., Mask R-CNN (2017), section 3, with 2 x 2 samples a bin and no half-pixel shift, as
torchvision (`aligned=False`) and mmdetection 1.0rc0 have it.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from ecanet_jax.detection.presets import Preset
from ecanet_jax.detection.roi.levels import roi_levels
from ecanet_jax.ops import get_backend
from ecanet_jax.ops.roi_align import neighbours, positions

SAMPLES = 2  # of a bin, on each axis
DENSE_CELLS = 64 * 64  # of the finest level, up to which the dense form is chosen
CHUNK = 128  # RoIs at a time


def roi_align(features: tuple[jax.Array, ...], boxes: jax.Array, size: int, preset: Preset,
              method: str = '', chunk: int = CHUNK, backend: str = 'xla') -> jax.Array:
  """The features of RoIs, `size` x `size` bins each, every RoI from the level of its size.

  Coordinates and weights are float32, whatever the features are. The boxes get no gradient.

  Args:
    features: P2, P3, ... of one image, each `[H, W, C]`.
    boxes: `[R, 4]` in pixels of the network's input.
    size: bins on each axis.
    preset: strides and the rules of sides and levels.
    method: 'gather' reads the cells that a RoI needs; 'dense' multiplies the whole map by a RoI's
      weights; '' is dense for small maps, but on the backend 'cpu', whose kernel reads cells.
    chunk: RoIs at a time, which bounds the memory; the kernel needs none.
    backend: a name of `ops.BACKENDS`.

  Returns:
    `[R, size, size, C]`.
  """
  rows, columns, _ = features[0].shape
  small = rows * columns <= DENSE_CELLS and backend != 'cpu'
  forms = {'gather': functools.partial(_gather, backend=backend), 'dense': _dense}
  form = functools.partial(forms[method or ('dense' if small else 'gather')],
                           features=features, size=size, preset=preset)
  boxes = lax.stop_gradient(boxes.astype(jnp.float32))
  return form(boxes) if backend == 'cpu' else _in_chunks(form, boxes, chunk)


def _in_chunks(form: Callable, boxes: jax.Array, chunk: int) -> jax.Array:
  """The results of `form` for all boxes, `chunk` at a time."""
  if boxes.shape[0] <= chunk:
    return form(boxes)
  blocks = -(-boxes.shape[0] // chunk)
  padded = jnp.pad(boxes, ((0, blocks * chunk - boxes.shape[0]), (0, 0)))
  pooled = lax.map(form, padded.reshape(blocks, chunk, 4))
  return pooled.reshape(blocks * chunk, *pooled.shape[2:])[: boxes.shape[0]]


def _sides(boxes: jax.Array, stride: jax.Array,
           preset: Preset) -> tuple[tuple[jax.Array, jax.Array], ...]:
  """Where RoIs begin and how long they are, in cells, for the y axis and the x axis.

  `stride` is `[R]`, of the level of each RoI.
  """
  x1, y1, x2, y2 = boxes.T
  ends = ((y1, y2 + preset.pixel), (x1, x2 + preset.pixel))
  return tuple(
    (start / stride, jnp.maximum(end / stride - start / stride, preset.least_roi))
    for start, end in ends)


def _dense(boxes: jax.Array, features: tuple[jax.Array, ...], size: int,
           preset: Preset) -> jax.Array:
  """Every level times the weights of every RoI, which are 0 for RoIs of other levels."""
  level = roi_levels(boxes, len(features), preset)
  total = 0.0
  for number, (x, stride) in enumerate(zip(features, preset.strides, strict=False)):
    sides = _sides(boxes, jnp.full_like(boxes[:, 0], stride), preset)
    down, right = (
      jnp.mean(_interpolation(positions(start, length / size, size, SAMPLES), cells), axis=2)
      for (start, length), cells in zip(sides, x.shape[:2], strict=True))
    down = down * (level == number)[:, None, None]
    product = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)
    lines = product('ruh,hwc->ruwc', down.astype(x.dtype), x)
    total = total + product('rvw,ruwc->ruvc', right.astype(x.dtype), lines)
  return total


def _interpolation(at: jax.Array, cells: int) -> jax.Array:
  """The weights of all cells of a map at each position `[...]`, as `[..., cells]`."""
  index, weights = neighbours(at, jnp.asarray(cells))
  hits = index[..., None] == jnp.arange(cells).reshape((1,) * index.ndim + (-1,))
  return jnp.sum(jnp.where(hits, weights[..., None], 0.0), axis=-2)


def _gather(boxes: jax.Array, features: tuple[jax.Array, ...], size: int, preset: Preset,
            backend: str) -> jax.Array:
  """The cells of all levels in one table, of which a RoI reads the neighbours of its samples."""
  level = roi_levels(boxes, len(features), preset)
  table = jnp.concatenate([x.reshape(-1, x.shape[-1]) for x in features])
  shapes = jnp.asarray([x.shape[:2] for x in features], jnp.float32)
  cells = shapes[:, 0] * shapes[:, 1]
  firsts = jnp.cumsum(cells) - cells  # whole numbers, exact in float32
  stride = jnp.asarray(preset.strides[: len(features)], jnp.float32)[level]
  (top, height), (left, width) = _sides(boxes, stride, preset)
  rois = jnp.stack([
    firsts[level], shapes[level, 0], shapes[level, 1], top, left, height / size, width / size,
  ], axis=1)
  return get_backend(backend).roi_align(table, rois, size, SAMPLES)
