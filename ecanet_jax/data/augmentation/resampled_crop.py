"""Crop, shift and mirroring of images that are held decoded (source memory, data.resident).

On the host only what is random is computed, as integers: which pixels of the stored image make each
row and each column of the result, and with which weights. `resample` then takes them, in numpy on
the host or in the compiled step, with the same pixels: there is nothing to round but the end.
"""

import math
from typing import NamedTuple

import numpy as np

from ecanet_jax.data import shuffling
from ecanet_jax.runtime.errors import lookup

ATTEMPTS = 10  # to find a rectangle that fits
BITS = 11  # of a weight: two of them times 255 times what bicubic overshoots is below 2**31
ONE = 2**BITS  # the weights of each row and of each column together
SHIFTS = {'shift': 8, 'center': 0}  # by at most side / this
CROPS = ('inception', *SHIFTS)
# The weights of the source pixels around a place that is `t` of the way from one pixel's centre to
# the next's: of these two, or (Keys 1981, a = -1/2) of one more on either side.
KERNELS = {
  'bilinear': lambda t: (1 - t, t),
  'bicubic': lambda t: (
    t * (-0.5 + t * (1 - 0.5 * t)), 1 + t * t * (-2.5 + 1.5 * t),
    t * (0.5 + t * (2 - 1.5 * t)), t * t * (-0.5 + 0.5 * t),
  ),
}


class Taps(NamedTuple):
  """Which source pixels make an image, K for each of its rows and columns; also of a batch of them.

  Attributes:
    rows: int32 [size, K], rows of the source.
    row_weights: int32 [size, K], of sum `ONE`.
    columns, column_weights: the same of columns.
  """

  rows: np.ndarray
  row_weights: np.ndarray
  columns: np.ndarray
  column_weights: np.ndarray


class Sampler:
  """Draws what happens to each training image, a pure function of (key, index).

  With crop='inception' it is a rectangle of random area and shape, resized; with 'shift' the image
  is moved by up to an eighth of its side in each direction, the border repeated; with 'center' it
  is not. flip mirrors one image in two.
  """

  def __init__(self, data, side: int):
    """Makes the weights for every length.

    Args:
      data: `config.data`; its crop, area, aspect, flip, image_size and interpolation are used.
      side: of the stored squares; image_size, but with crop='inception' it may be less.

    Raises:
      UserError: an unknown crop or interpolation.
    """
    lookup(dict.fromkeys(CROPS), data.crop, 'crop (data.crop)')
    self._crop, self._flip, self._side, self._size = data.crop, data.flip, side, data.image_size
    self._area, self._aspect = tuple(data.area), tuple(data.aspect)
    if data.crop == 'inception':
      self._taps = taps(np.arange(1, side + 1), data.image_size, data.interpolation)

  def draw(self, keys: np.ndarray, indices: np.ndarray) -> Taps:
    """Returns int32 [n, size, K] each.

    Args:
      keys: int64 [n], the key of each image's epoch.
      indices: int64 [n], each image's number in its split.
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
  """Chooses a rectangle of random area and shape for each image; `crop.inception_crop` in numpy.

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
  """Which of `length` pixels make each of `size`, none fewer: one axis of a resized rectangle.

  Half-pixel centres. Pixels outside the rectangle have no weight, and the others more for it, as in
  Pillow and in TensorFlow with antialias, so that what the image has around it does not matter.

  Args:
    length: int [n], at most `size`.
    size: pixels of the result.
    interpolation: bilinear (K = 2) or bicubic (K = 4).

  Returns:
    (index, weight), int32 [n, size, K]: from 0 to length - 1, and whole numbers of sum `ONE`.
  """
  kernel = lookup(KERNELS, interpolation, 'interpolation (data.interpolation)')
  # The centres' places among those of the source, in 1 / (2 size) of a pixel.
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
  """Makes one image of another's pixels; the same integers in numpy and under jit.

  Args:
    image: uint8 [H, W, 3].
    taps: of one image.

  Returns:
    uint8 [size, size, 3].
  """
  # XLA keeps what a sum over an axis gives, and computes the rest anew for each use.
  columns = taps.column_weights[None, :, :, None] * image[:, taps.columns].astype('int32')
  wide = columns.sum(2, dtype='int32')
  total = sum(
    taps.row_weights[:, k, None, None] * wide[taps.rows[:, k]] for k in range(taps.rows.shape[1])
  )
  return ((total + ONE * ONE // 2) >> 2 * BITS).clip(0, 255).astype('uint8')
