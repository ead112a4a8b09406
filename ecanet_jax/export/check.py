"""Compares a file in its own runtime with the network in JAX."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ecanet_jax.inference import images as pictures
from ecanet_jax.inference.images import Picture

Program = Callable[[np.ndarray], np.ndarray]
NOISE, SEED = 7, 0  # images of noise
BATCH = 32


@dataclasses.dataclass(frozen=True)
class Difference:
  """How far logits are from ours.

  Attributes:
    images: that were compared.
    largest: difference of a logit, relative to the largest logit.
    cosine: between an image's logits and ours; the median of the images.
    top1: images with the same most probable class.
  """

  images: int
  largest: float
  cosine: float
  top1: int

  @classmethod
  def of(cls, logits: np.ndarray, ours: np.ndarray) -> 'Difference':
    """Compares logits `[N, K]`."""
    logits, ours = logits.astype(np.float64), ours.astype(np.float64)
    lengths = np.linalg.norm(logits, axis=1) * np.linalg.norm(ours, axis=1)
    cosines = (logits * ours).sum(1) / np.maximum(lengths, np.finfo(np.float64).tiny)
    return cls(
      len(ours), float(np.abs(logits - ours).max() / np.abs(ours).max()), float(np.median(cosines)),
      int((logits.argmax(1) == ours.argmax(1)).sum()),
    )

  def to_json(self) -> dict[str, Any]:
    """For export.json, rounded to what does not depend on the threads."""
    return {
      'images': self.images, 'largest_difference': float(f'{self.largest:.1e}'),
      'cosine': round(self.cosine, 5), 'top1_equal': self.top1,
    }


def noise(shape: Sequence[int]) -> np.ndarray:
  """Pixels of noise, float32 `[NOISE, *shape]` from 0 to 255; always the same."""
  return np.random.default_rng(SEED).uniform(0, 255, (NOISE, *shape)).astype(np.float32)


def photographs(files: Sequence[Picture], preprocessing: Mapping[str, Any]) -> np.ndarray:
  """Pictures at the network's size, float32 `[N, H, W, 3]` from 0 to 255.

  Raises:
    UserError: one of them cannot be read.
  """
  crops = [
    pictures.resize_and_crop(
      pictures.read_image(file, preprocessing.get('exif', 'ignore')), preprocessing
    )
    for file in files
  ]
  return np.stack([np.asarray(crop, np.float32) for crop in crops])


def normalised(pixels: np.ndarray, preprocessing: Mapping[str, Any]) -> np.ndarray:
  """(pixels / 255 - mean) / std, float32."""
  mean, std = (np.asarray(preprocessing[key], np.float32) for key in ('mean', 'std'))
  return (pixels / np.float32(255) - mean) / std


def run(program: Program, images: np.ndarray, batch: int | None) -> np.ndarray:
  """Logits of images, `[N, K]`.

  Args:
    program: takes `[B, H, W, C]`.
    images: `[N, H, W, C]`.
    batch: B if the program takes no other; the last batch is filled with its first image. None:
      the first image is also computed alone.
  """
  size = batch or BATCH
  parts = []
  for start in range(0, len(images), size):
    part = images[start : start + size]
    missing = size - len(part) if batch else 0
    filled = np.concatenate([part, np.repeat(part[:1], missing, 0)]) if missing else part
    parts.append(program(filled)[: len(part)])
  if batch is None:
    parts[0] = np.concatenate([program(images[:1]), parts[0][1:]])
  return np.concatenate(parts)
