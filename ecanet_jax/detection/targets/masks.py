"""Targets of the mask head: the ground-truth mask within each RoI."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from ecanet_jax.detection.presets import Preset

Frame = tuple[jax.Array, jax.Array] | None  # first and last pixel on one axis; None = the image

CHUNK = 16  # RoIs at a time, which bounds the memory


def mask_targets(masks: jax.Array, frames: jax.Array | None, boxes: jax.Array, matched: jax.Array,
                 size: int, image_size: tuple[int, int], preset: Preset) -> jax.Array:
  """The masks of RoIs, `[S, size, size]`, float32 in 0 .. 1.

  torchvision pools the bitmap as RoIAlign does, with about one sample per pixel. mmdetection cuts
  whole pixels, resizes them and rounds to 0 or 1.

  Args:
    masks: `[G, h, w]`, uint8, from 0 to 255 = the object.
    frames: where in the image each mask lies, `[G, 4]` as x1, y1, x2, y2, which need not be whole
      pixels; None means that masks are the whole image, `[G, H, W]`.
    boxes: RoIs, `[S, 4]`.
    matched: row of the ground truth of each RoI, `[S]`.
    size: side of a target, such as 28.
    image_size: height and width of the network's input.
    preset: `binary_masks` says which rule.

  Raises:
    TypeError: masks of another type, whose values would mean something else.
  """
  if masks.dtype != jnp.uint8:
    raise TypeError(f'masks are {masks.dtype}; they must be uint8, from 0 to 255.')
  axis = _resized if preset.binary_masks else _pooled

  def one(roi: tuple[jax.Array, jax.Array]) -> jax.Array:
    (x1, y1, x2, y2), row = roi
    vertical = horizontal = None
    if frames is not None:
      left, top, right, bottom = frames[row]
      vertical, horizontal = (top, bottom), (left, right)
    down = axis(y1, y2, size, image_size[0], vertical, masks.shape[1])
    across = axis(x1, x2, size, image_size[1], horizontal, masks.shape[2])
    mask = masks[row].astype(jnp.float32) / 255
    product = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    return product(product(down, mask), across.T)

  targets = lax.map(one, (boxes.astype(jnp.float32), matched), batch_size=CHUNK)
  targets = (targets >= 0.5).astype(jnp.float32) if preset.binary_masks else targets
  return lax.stop_gradient(targets)


def _pooled(start: jax.Array, end: jax.Array, size: int, longest: int,
            frame: Frame, cells: int) -> jax.Array:
  """Weights `[size, cells]` of RoIAlign with `ceil(side / size)` samples a bin."""
  length = jnp.maximum(end - start, 1.0)
  samples = jnp.ceil(length / size)
  each = length / size
  number = jnp.arange(-(-longest // size), dtype=jnp.float32)[None, :]
  at = start + jnp.arange(size, dtype=jnp.float32)[:, None] * each + (number + 0.5) * each / samples
  weights = _weights(at, frame, cells)
  return jnp.sum(weights * (number < samples)[:, :, None], axis=1) / samples


def _resized(start: jax.Array, end: jax.Array, size: int, longest: int,
             frame: Frame, cells: int) -> jax.Array:
  """Weights `[size, cells]` of a bilinear resize of the whole pixels from start to end."""
  del longest
  first, last = jnp.trunc(start), jnp.trunc(end)
  length = jnp.maximum(last - first + 1.0, 1.0)
  at = (jnp.arange(size, dtype=jnp.float32) + 0.5) * (length / size) - 0.5
  return _weights(first + jnp.clip(at, 0.0, length - 1.0), frame, cells)


def _weights(at: jax.Array, frame: Frame, cells: int) -> jax.Array:
  """Linear interpolation weights `[..., cells]` at positions in pixels of the image, `[...]`.

  A whole image goes on for a pixel beyond its border; a mask in a frame has zeros around it.
  """
  inside = jnp.ones_like(at, bool)
  if frame is None:
    inside, at = (at >= -1.0) & (at <= cells), jnp.clip(at, 0.0, cells - 1.0)
  else:
    first, last = frame
    at = (at + 0.5 - first) * (cells / jnp.maximum(last - first, 1e-6)) - 0.5
  index = jnp.arange(cells, dtype=jnp.float32).reshape((1,) * at.ndim + (cells,))
  return jnp.maximum(1.0 - jnp.abs(at[..., None] - index), 0.0) * inside[..., None]
