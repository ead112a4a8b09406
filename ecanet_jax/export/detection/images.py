"""Images that a file is compared on: noise, or pictures."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from ecanet_jax.data.detection.buckets import bucket_of
from ecanet_jax.data.detection.transforms import prepare
from ecanet_jax.export.detection.program import DetectorProgram, Found
from ecanet_jax.inference.detector import NOTHING, TrainedDetector

SEED = 0
GRAINS = (1, 8, 32)  # of the images of noise: sides of their squares, in pixels
PARTS = ((1.0, 1.0), (1.0, 0.7), (0.6, 1.0))  # of height and width that they fill


@dataclasses.dataclass(frozen=True)
class Images:
  """Images in the shape of a program.

  Attributes:
    pixels: uint8 `[N, H, W, 3]`, zeros right of and below each image.
    sizes: heights and widths without the zeros, int32 `[N, 2]`.
    kind: what they are, in words.
  """

  pixels: np.ndarray
  sizes: np.ndarray
  kind: str


def noise(size: tuple[int, int]) -> Images:
  """Squares of random colours; always the same."""
  random, images, sizes = np.random.default_rng(SEED), [], []
  for grain, part in zip(GRAINS, PARTS, strict=True):
    small = random.integers(0, 256, (*(-(-side // grain) for side in size), 3), np.uint8)
    rows, columns = (int(side * share) for side, share in zip(size, part))
    image = np.repeat(np.repeat(small, grain, 0), grain, 1)[: size[0], : size[1]]
    image[rows:] = image[:, columns:] = 0
    images.append(image)
    sizes.append((rows, columns))
  return Images(np.stack(images), np.array(sizes, np.int32), 'images of noise')


def pictures(
  detector: TrainedDetector, files: Sequence[str], size: tuple[int, int]
) -> Images | None:
  """Those of the pictures that belong to a bucket, resized; None if there is none.

  Args:
    detector: its settings say how pictures are resized.
    files: paths.
    size: of the bucket.

  Raises:
    UserError: one of them cannot be read.
  """
  bucket, found = detector.settings.buckets.index(size), []
  for file in files:
    image = detector.image(file)
    if bucket_of(*image.shape[:2], detector.settings) == bucket:
      settings = dataclasses.replace(detector.settings, masks='none')
      found.append(prepare(image, NOTHING, settings, bucket))
  if not found:
    return None
  return Images(*(np.stack([each[key] for each in found]) for key in ('image', 'image_size')),
                'photographs')


def run(
  program: Callable[[np.ndarray, np.ndarray], Found], given: np.ndarray, sizes: np.ndarray,
  batch: int,
) -> Found:
  """What a program finds on all images.

  Args:
    program: takes `batch` images and their sizes.
    given: images as it takes them, `[N, H, W, 3]`.
    sizes: `[N, 2]`.
    batch: images per call; the last call is filled with the first of its images.
  """
  parts = []
  for start in range(0, len(given), batch):
    part = [each[start : start + batch] for each in (given, sizes)]
    count = len(part[0])
    full = [np.concatenate([each, np.repeat(each[:1], batch - count, 0)]) for each in part]
    parts.append({name: np.asarray(value)[:count] for name, value in program(*full).items()})
  return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def as_given(images: Images, program: DetectorProgram, normalise: Callable) -> np.ndarray:
  """Images as a file takes them, float32; `normalise` maps pixels and sizes to the network's."""
  if program.preprocess == 'inside':
    return images.pixels.astype(np.float32)
  return np.asarray(normalise(images.pixels, images.sizes))
