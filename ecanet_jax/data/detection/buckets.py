"""Shape buckets: every batch has one of a few heights and widths, each with its own program."""

import numpy as np

from ecanet_jax.data.detection.settings import Settings


def resized(height: int, width: int, settings: Settings, factor: float = 1.0) -> tuple[int, int]:
  """Returns the height and width of a resized image, which keeps its proportions.

  Args:
    height: of the image, in pixels.
    width: of the image, in pixels.
    settings: shorter, longer.
    factor: multiplies the result.
  """
  scale = min(settings.shorter / min(height, width), settings.longer / max(height, width))
  scale *= factor
  return max(int(height * scale + 0.5), 1), max(int(width * scale + 0.5), 1)


def bucket_of(height: int, width: int, settings: Settings) -> int:
  """Returns the number of the first bucket that holds the resized image.

  A random scale does not count, so that an image is always in the same bucket.
  """
  rows, columns = resized(height, width, settings)
  return next(
    number for number, size in enumerate(settings.buckets)
    if rows <= size[0] and columns <= size[1]
  )


def by_bucket(sizes: np.ndarray, chosen: np.ndarray, settings: Settings) -> list[np.ndarray]:
  """Divides images among the buckets.

  Args:
    sizes: heights and widths of all images, int [n, 2].
    chosen: numbers of the images to divide, ascending.
    settings: buckets, shorter, longer.

  Returns:
    For each bucket the numbers of its images, int64.
  """
  numbers = np.array([bucket_of(*map(int, sizes[index]), settings) for index in chosen], np.int64)
  return [np.asarray(chosen, np.int64)[numbers == bucket]
          for bucket in range(len(settings.buckets))]
