"""Resizes, mirrors and cuts an image together with its boxes and masks."""

import dataclasses

import numpy as np
from PIL import Image

from ecanet_jax.data.detection import masks
from ecanet_jax.data.detection.annotations import Instances
from ecanet_jax.data.detection.buckets import resized
from ecanet_jax.data.detection.settings import Settings

DRAWS = 4  # random numbers of an image


@dataclasses.dataclass(frozen=True)
class Change:
  """What happens to an image.

  Attributes:
    flip: it is mirrored left to right.
    factor: of a second resize.
    place: of the bucket in an image that is larger, as a fraction of what is cut off, [0, 1) for y
      and x.
  """

  flip: bool = False
  factor: float = 1.0
  place: tuple[float, float] = (0.0, 0.0)


def draw(uniform: np.ndarray, settings: Settings) -> Change:
  """Returns a random change, from DRAWS numbers in [0, 1)."""
  low, high = settings.scale
  return Change(
    bool(settings.flip and uniform[0] < 0.5), float(low + (high - low) * uniform[1]),
    (float(uniform[2]), float(uniform[3])),
  )


def prepare(
  image: np.ndarray, instances: Instances, settings: Settings, bucket: int,
  change: Change = Change(),
) -> dict[str, np.ndarray]:
  """Returns the arrays of one image; all shapes depend on the bucket and the settings alone.

  Args:
    image: uint8 [height, width, 3].
    instances: what is on it.
    settings: sizes, and the form of the masks.
    bucket: number of the bucket, [H, W].
    change: what happens to it beside the resize.

  Returns:
    'image', uint8 [H, W, 3], which is 0 right of and below the image; 'image_size', int32 [2], its
    height and width; 'scale', float32 [2], pixels of it per pixel of the stored image, y and x;
    'boxes', float32 [M, 4], 'labels', int32 [M], and 'valid', bool [M], in which rows there is an
    object. With crops 'masks' is uint8 [M, S, S], each within its box, from 0 to 255 = the object;
    with bitmaps it is [M, H, W], 0 or 255.
  """
  height, width = image.shape[:2]
  rows, columns = resized(height, width, settings, change.factor)
  bucket_size = settings.buckets[bucket]
  scale = np.array([rows / height, columns / width])
  top, left = (
    int(share * (max(side - most, 0) + 1))
    for share, side, most in zip(change.place, (rows, columns), bucket_size)
  )
  picture = _resize(image, rows, columns)
  picture = picture[:, ::-1] if change.flip else picture
  part = picture[top : top + bucket_size[0], left : left + bucket_size[1]]
  size = part.shape[:2]

  boxes = instances.boxes.astype(np.float64) * scale[[1, 0, 1, 0]]
  boxes = _mirrored(boxes, columns) if change.flip else boxes
  cut = boxes - np.array([left, top, left, top])
  cut = np.clip(cut, 0, [size[1], size[0], size[1], size[0]])
  kept = np.flatnonzero(np.all(_sides(cut) >= np.minimum(_sides(boxes), 1), axis=1))
  cut = cut[kept]
  arrays = {
    'image': _padded(part, (*bucket_size, 3)),
    'image_size': np.array(size, np.int32),
    'scale': scale.astype(np.float32),
    'boxes': _padded(cut.astype(np.float32), (settings.max_boxes, 4)),
    'labels': _padded(instances.labels[kept], (settings.max_boxes,)),
    'valid': np.arange(settings.max_boxes) < len(kept),
  }
  if settings.masks == 'none':
    return arrays

  side = settings.mask_size
  shape = (side, side) if settings.masks == 'crops' else bucket_size
  found = np.zeros((settings.max_boxes, *shape), np.uint8)
  stored = cut + np.array([left, top, left, top])
  stored = (_mirrored(stored, columns) if change.flip else stored) / scale[[1, 0, 1, 0]]
  for row, index, box in zip(found, kept, np.clip(stored, 0, [width, height, width, height])):
    mask = masks.bitmap(instances.segmentations[index], height, width)
    if settings.masks == 'crops':
      small = masks.crop(mask, box, side)
      row[:] = small[:, ::-1] if change.flip else small
    else:
      large = np.where(_resize(mask.astype(np.uint8) * 255, rows, columns) >= 128, 255, 0)
      large = large[:, ::-1] if change.flip else large
      row[: size[0], : size[1]] = large[top : top + size[0], left : left + size[1]]
  return {**arrays, 'masks': found}


def _resize(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
  if image.shape[:2] == (rows, columns):
    return image
  resized_image = Image.fromarray(image).resize((columns, rows), Image.Resampling.BILINEAR)
  return np.asarray(resized_image)


def _mirrored(boxes: np.ndarray, width: float) -> np.ndarray:
  x1, y1, x2, y2 = boxes.T
  return np.stack([width - x2, y1, width - x1, y2], axis=1)


def _sides(boxes: np.ndarray) -> np.ndarray:
  return boxes[:, 2:] - boxes[:, :2]


def _padded(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  padded = np.zeros(shape, array.dtype)
  padded[tuple(slice(side) for side in array.shape)] = array
  return padded
