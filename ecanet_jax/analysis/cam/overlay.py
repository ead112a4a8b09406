"""Draws a map on the whole photograph, of which the network has seen a part."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from ecanet_jax.inference.images import crop_geometry

ALPHA = 0.5  # of the colours on the photograph
OUTSIDE = 0.45  # brightness of what the network has not seen


def on_photograph(
  values: np.ndarray, size: tuple[int, int], data: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
  """A map at the pixels of the photograph.

  A pixel's centre goes through resizing and crop to a place in the map, where the value is
  interpolated linearly between the centres of the cells.

  Args:
    values: the map `[h, w]` of the network's input.
    size: width and height of the photograph.
    data: the preprocessing: image_size, crop_fraction, and perhaps crop_mode.

  Returns:
    float64 `[H, W]`, and bool `[H, W]`: whether the network has seen the pixel.
  """
  sides, corner = crop_geometry(size, data)
  edge = data['image_size']
  places, seen = [], []
  for length, side, first, cells in zip(size, sides, corner, values.shape[::-1], strict=True):
    at = (np.arange(length) + 0.5) * side / length - first  # in pixels of the network's input
    seen.append((at >= 0) & (at <= edge))
    places.append(np.clip(at * cells / edge - 0.5, 0, cells - 1))
  columns, rows = places
  return _interpolated(values.astype(np.float64), rows, columns), seen[1][:, None] & seen[0][None]


def _interpolated(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
  for axis, at in ((0, rows), (1, columns)):
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, values.shape[axis] - 1)
    share = np.expand_dims(at - low, 1 - axis)
    values = (1 - share) * values.take(low, axis) + share * values.take(high, axis)
  return values


def coloured(
  photograph: Image.Image, values: np.ndarray, data: Mapping[str, Any], largest: float = 0.0
) -> Image.Image:
  """The photograph under the colours of a map; what the network has not seen is dark.

  Args:
    photograph: RGB.
    values: the map; negative values count as 0.
    data: the preprocessing.
    largest: the value of the brightest colour; 0 = the map's largest.
  """
  from matplotlib import colormaps

  heat, seen = on_photograph(np.maximum(values, 0), photograph.size, data)
  scaled = heat / (largest or max(values.max(), np.finfo(float).tiny))
  colours = colormaps['turbo'](np.clip(scaled, 0, 1))[..., :3] * 255
  pixels = np.asarray(photograph, np.float64)
  inside = (1 - ALPHA) * pixels + ALPHA * colours
  mixed = np.where(seen[..., None], inside, OUTSIDE * pixels)
  return Image.fromarray(np.round(mixed).astype(np.uint8))
