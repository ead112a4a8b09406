"""Masks as COCO writes them: polygons, or run lengths (RLE), decoded by pycocotools."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ecanet_jax.runtime.errors import UserError

Segmentation = Any  # [[x1, y1, x2, y2, ...], ...], or {'size': [height, width], 'counts': ...}


def coco_mask():
  """Returns the module pycocotools.mask.

  Raises:
    UserError: it is not installed.
  """
  try:
    from pycocotools import mask
  except ImportError as error:
    raise UserError(
      "COCO's masks and metrics need pycocotools: pip install 'ecanet_jax[detection]'"
    ) from error
  return mask


def bitmap(segmentation: Segmentation, height: int, width: int) -> np.ndarray:
  """Returns a mask as bool [height, width]."""
  mask = coco_mask()
  if isinstance(segmentation, dict):
    rle = segmentation
    if isinstance(rle['counts'], list):  # not compressed
      rle = mask.frPyObjects(rle, height, width)
  else:
    rle = mask.merge(mask.frPyObjects(segmentation, height, width))
  return mask.decode(rle).astype(bool)


def encode(mask: np.ndarray) -> dict[str, Any]:
  """Returns a mask, bool [height, width], as run lengths that JSON can hold."""
  rle = coco_mask().encode(np.asfortranarray(mask, np.uint8))
  return {'size': [int(side) for side in rle['size']], 'counts': rle['counts'].decode('ascii')}


def crop(mask: np.ndarray, box: Sequence[float], size: int) -> np.ndarray:
  """Returns what a box contains of a mask, resized: uint8 [size, size], 255 = the object.

  Values between are the edge. Rounded to 0 and 255 they would change the targets of a mask head
  that interpolates, such as torchvision's, seven times as much.

  Args:
    mask: bool [height, width].
    box: x1, y1, x2, y2 within the mask, not empty.
    size: side of the result.
  """
  image = Image.fromarray(mask.astype(np.uint8) * 255)
  return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, tuple(map(float, box))))


def fault(segmentation: Segmentation, height: int, width: int) -> bool:
  """Whether a segmentation is neither polygons nor run lengths of the image's size."""
  if isinstance(segmentation, dict):
    size = segmentation.get('size')
    return list(size or ()) != [height, width] or 'counts' not in segmentation
  if not isinstance(segmentation, list) or not segmentation:
    return True
  try:
    return any(
      len(polygon) < 6 or len(polygon) % 2 or not math.isfinite(sum(polygon))
      for polygon in segmentation
    )
  except TypeError:  # no list, or no numbers
    return True
