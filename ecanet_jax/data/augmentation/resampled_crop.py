"""Random crop, shift and mirroring of decoded images (data.source='memory', data.resident).

The random part is drawn on the host, as integers: for each row and each column of the result, which
source pixels it is made of and with which weights (`Taps`). `resample` computes the pixels from
them, in numpy on the host or in the compiled step. Both give the same pixels, because all sums are
exact integers and only the result is rounded.
"""

import math
from typing import NamedTuple

import numpy as np

from ecanet_jax.data import shuffling
from ecanet_jax.runtime.errors import lookup

ATTEMPTS = 10  # draws of a rectangle until one fits
BITS = 11  # of a weight: two weights times 255 stay below 2**31, with the overshoot of bicubic
ONE = 2**BITS  # sum of the weights of a row or column
SHIFTS = {'shift': 8, 'center': 0}  # the largest shift is side / this; 0 = none
CROPS = ('inception', *SHIFTS)
# Weights of the source pixels around a point at the fraction `t` between two pixel centres: of the
# two pixels, or (bicubic, Keys 1981, a = -1/2) also of the next one on either side.
KERNELS = {
  'bilinear': lambda t: (1 - t, t),
  'bicubic': lambda t: (
    t * (-0.5 + t * (1 - 0.5 * t)), 1 + t * t * (-2.5 + 1.5 * t),
    t * (0.5 + t * (2 - 1.5 * t)), t * t * (-0.5 + 0.5 * t),
  ),
}


class Taps(NamedTuple):
  """The K source pixels of each row and column of an image; also of a batch of images.

  Attributes:
    rows: int32 [size, K], rows of the source.
    row_weights: int32 [size, K]; their sum is `ONE`.
    columns, column_weights: the same for columns.
  """

  rows: np.ndarray
  row_weights: np.ndarray
  columns: np.ndarray
  column_weights: np.ndarray


def require_crop(name: str) -> None:
  """Raises UserError if decoded images cannot be cropped in this way."""
  lookup(dict.fromkeys(CROPS), name, 'crop (data.crop)')


class Sampler:
  """Draws the crop and mirroring of each training image, a pure function of (key, index).

  crop='inception' takes a rectangle of random area and shape and resizes it. 'shift' moves the
  image by up to an eighth of its side in each direction and repeats the border. 'center' leaves
  the image as it is. flip mirrors one image in two.
  """

  def __init__(self, data, side: int, image_size: int):
    """Computes the weights for every side that a rectangle may have.

    Args:
      data: `config.data`; its crop, area, aspect, flip and interpolation are used.
      side: pixels of the stored squares: image_size, or less with crop='inception'.
      image_size: pixels of the result.

    Raises:
      UserError: an unknown crop or interpolation.
    """
    require_crop(data.crop)
    self._crop, self._flip, self._side, self._size = data.crop, data.flip, side, image_size
    self._area, self._aspect = tuple(data.area), tuple(data.aspect)
    if data.crop == 'inception':
      self._taps = taps(np.arange(1, side + 1), image_size, data.interpolation)

  def draw(self, keys: np.ndarray, indices: np.ndarray) -> Taps:
    """Returns the taps of n images, int32 [n, size, K] each.

    Args:
      keys: int64 [n], the epoch key of each image (`shuffling.epoch_key`).
      indices: int64 [n], the number of each image in its split.
    """
    if self._crop == 'inception':
      draws = shuffling.uniform(keys, indices, 1 + 4 * ATTEMPTS)
      mirror, values = draws[:, 0], draws[:, 1:].reshape(-1, ATTEMPTS, 4)
      boxes = inception_boxes(values, self._side, self._side, self._area, self._aspect)
      first, length = boxes[:, :2], boxes[:, 2:]
      index, weight = (table[length - 1] for table in self._taps)
      index += first[..., None, None]
    else:
      draws = shuffling.uniform(keys, indices, 3)
      mirror, divisor = draws[:, 2], SHIFTS[self._crop]
      shift = self._size // divisor if divisor else 0
      offset = np.floor(draws[:, :2] * (2 * shift + 1)).astype(np.int32) - shift
      index = np.arange(self._size, dtype=np.int32) + offset[..., None]
      index = np.clip(index, 0, self._size - 1)[..., None]
      weight = np.full_like(index, ONE)
    (rows, columns), (row_weights, column_weights) = (np.moveaxis(a, 1, 0) for a in (index, weight))
    if self._flip:
      mirrored = (mirror < 0.5)[:, None, None]
      columns, column_weights = (
        np.where(mirrored, array[:, ::-1], array) for array in (columns, column_weights)
      )
    return Taps(rows, row_weights, columns, column_weights)


def inception_boxes(
  draws: np.ndarray, height: int, width: int, area: tuple[float, float],
  aspect: tuple[float, float],
) -> np.ndarray:
  """Returns a rectangle of random area and shape per image: `host.crop.inception_crop` in numpy.

  Args:
    draws: float64 [n, 10, 4], uniform in [0, 1).
    height, width: of the images, pixels.
    area: smallest and largest fraction of the image's area.
    aspect: smallest and largest width / height.

  Returns:
    int32 [n, 4]: top, left, height, width.
  """
  full = np.array([height, width], np.float64)
  low, high = math.log(aspect[0]), math.log(aspect[1])
  wanted = height * width * (area[0] + (area[1] - area[0]) * draws[..., 0])
  shape = np.exp(low + (high - low) * draws[..., 1])
  sides = np.rint(np.sqrt(np.stack([wanted / shape, wanted * shape], axis=-1)))
  fits = ((sides >= 1) & (sides <= full)).all(axis=-1)
  corners = np.floor((full - sides + 1) * draws[..., 2:])
  found = np.concatenate([corners, sides], axis=-1)[np.arange(len(draws)), fits.argmax(axis=1)]

  limit = np.rint(full[::-1] * (1 / aspect[0], aspect[1]))
  last = np.maximum(np.minimum(full, limit), 1)
  centred = np.concatenate([(full - last) // 2, last])
  return np.where(fits.any(axis=1)[:, None], found, centred).astype(np.int32)


def taps(length: np.ndarray, size: int, interpolation: str) -> tuple[np.ndarray, np.ndarray]:
  """Returns the source pixels and weights that resize `length` pixels to `size`, along one axis.

  Pixel centres are at half pixels. Pixels outside the rectangle have weight 0 and the others are
  scaled up to the same sum, as in Pillow and in TensorFlow with antialias. The image around the
  rectangle therefore has no influence.

  Args:
    length: int [n], sides of rectangles; at most `size`, so that nothing shrinks.
    size: pixels of the result.
    interpolation: bilinear (K = 2) or bicubic (K = 4).

  Returns:
    (index, weight), int32 [n, size, K]: indices from 0 to length - 1; weights of sum `ONE`.
  """
  kernel = lookup(KERNELS, interpolation, 'interpolation (data.interpolation)')
  # Centres of the result in source pixels, in units of 1 / (2 size) pixel.
  place = (2 * np.arange(size) + 1) * length[:, None] - size
  before, rest = np.divmod(place, 2 * size)
  weight = np.stack(kernel(rest / (2 * size)), axis=-1)
  count = weight.shape[-1]
  index = before[..., None] + np.arange(count) - (count // 2 - 1)
  last = length[:, None, None] - 1
  weight[(index < 0) | (index > last)] = 0
  weight /= weight.sum(axis=-1, keepdims=True)
  whole = np.rint(weight * ONE).astype(np.int32)
  left = ONE - whole.sum(axis=-1, keepdims=True)
  whole += np.where(np.arange(count) == weight.argmax(axis=-1)[..., None], left, 0).astype(np.int32)
  return np.clip(index, 0, last).astype(np.int32), whole


def resample(image, taps: Taps):
  """Returns the crop of one image; numpy and jit give the same integers.

  Args:
    image: uint8 [H, W, 3].
    taps: taps of one image.

  Returns:
    uint8 [size, size, 3].
  """
  # As one reduction, because XLA stores its result; a chain of sums it would compute for each use.
  columns = taps.column_weights[None, :, :, None] * image[:, taps.columns].astype('int32')
  wide = columns.sum(2, dtype='int32')
  total = sum(
    taps.row_weights[:, k, None, None] * wide[taps.rows[:, k]] for k in range(taps.rows.shape[1])
  )
  return ((total + ONE * ONE // 2) >> 2 * BITS).clip(0, 255).astype('uint8')
