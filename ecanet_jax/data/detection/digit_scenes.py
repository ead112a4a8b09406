"""Digit scenes: real handwritten digits on a canvas, with exact boxes and masks.

Each scene has 1 to 8 of scikit-learn's digits, enlarged to 16 to 48 pixels, on a smooth background
of random colours with noise. The mask of a digit is where the enlarged scan is above a level, and
its box is the smallest around the mask. Boxes do not overlap. Scene i is a pure function of
(split, seed, i). Training scenes have the digits of the training split, evaluation scenes the
others.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ecanet_jax.data.detection import coco_dict, masks
from ecanet_jax.data.detection.annotations import Category, Instances
from ecanet_jax.data.detection.settings import Settings
from ecanet_jax.data.sources import in_memory
from ecanet_jax.runtime.errors import UserError, lookup

SIDE = 128  # pixels of the canvas
MOST = 8  # digits of a scene
SMALLEST, LARGEST = 16, 48  # pixels of an enlarged scan
LEVEL = 96  # of 255: above it a pixel belongs to the digit
TRIES = 20  # places that are tried for a digit; then it is left out
SPLITS = {'train': 0, 'validation': 1, 'test': 1}
CATEGORIES = tuple(Category(digit, str(digit)) for digit in range(10))
TRAIN_SCENES, EVAL_SCENES = 100_000, 200


class Scene(NamedTuple):
  """One scene.

  Attributes:
    image: uint8 [SIDE, SIDE, 3].
    boxes: float32 [k, 4], x1, y1, x2, y2.
    labels: int32 [k], the digits.
    masks: bool [k, SIDE, SIDE].
  """

  image: np.ndarray
  boxes: np.ndarray
  labels: np.ndarray
  masks: np.ndarray


@functools.lru_cache(maxsize=1)
def _digits() -> in_memory.Parts:
  return in_memory.digits()


def scene(split: str, seed: int, index: int) -> Scene:
  """Returns one scene.

  Args:
    split: train, validation or test; the last two are the same.
    seed: any number.
    index: number of the scene, from 0.

  Raises:
    UserError: an unknown split, or scikit-learn is not installed.
  """
  part = lookup(SPLITS, split, 'split of digit scenes')
  scans = _digits()[part]
  state = np.random.SeedSequence([seed & (2**64 - 1), part, index]).generate_state(8)
  random = np.random.RandomState(state)
  canvas = _background(random)
  taken = np.zeros((SIDE, SIDE), bool)
  boxes, labels, found = [], [], []
  for _ in range(random.randint(1, MOST + 1)):
    which = random.randint(len(scans['label']))
    scan = _enlarged(scans['image'][which, :, :, 0], random)
    shape = scan > LEVEL
    rows, columns = np.flatnonzero(shape.any(axis=1)), np.flatnonzero(shape.any(axis=0))
    for _ in range(TRIES):
      y, x = (int(random.randint(SIDE - side + 1)) for side in scan.shape)
      y1, y2, x1, x2 = y + rows[0], y + rows[-1] + 1, x + columns[0], x + columns[-1] + 1
      if not taken[y1:y2, x1:x2].any():
        break
    else:
      continue
    taken[y1:y2, x1:x2] = True
    _draw(canvas[y : y + scan.shape[0], x : x + scan.shape[1]], scan, random)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[y : y + scan.shape[0], x : x + scan.shape[1]] = shape
    boxes.append((x1, y1, x2, y2))
    labels.append(scans['label'][which])
    found.append(mask)
  canvas += random.standard_normal(canvas.shape) * random.uniform(2, 12)
  return Scene(
    np.clip(np.round(canvas), 0, 255).astype(np.uint8), np.array(boxes, np.float32),
    np.array(labels, np.int32), np.stack(found),
  )


def _background(random: np.random.RandomState) -> np.ndarray:
  """Smooth random colours, float64 [SIDE, SIDE, 3]."""
  colours = Image.fromarray(random.randint(40, 216, (4, 4, 3)).astype(np.uint8))
  return np.asarray(colours.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float64)


def _enlarged(scan: np.ndarray, random: np.random.RandomState) -> np.ndarray:
  """A scan, uint8 [8, 8], with a random height and width."""
  side, aspect = random.uniform(SMALLEST, LARGEST), np.exp(random.uniform(-0.3, 0.3))
  sides = np.clip(np.round([side * aspect, side / aspect]), SMALLEST, LARGEST).astype(int)
  size = tuple(int(pixels) for pixels in sides)
  return np.asarray(Image.fromarray(scan).resize(size, Image.Resampling.BICUBIC))


def _draw(canvas: np.ndarray, scan: np.ndarray, random: np.random.RandomState) -> None:
  """Blends a digit into a part of the canvas, in a colour darker or brighter than what is there."""
  bright = canvas.mean() < 128
  colour = random.uniform(190, 255, 3) if bright else random.uniform(0, 65, 3)
  share = scan[:, :, None] / 255.0
  canvas[:] = canvas * (1 - share) + colour * share


class SceneSplit:
  """A number of digit scenes; see `DetectionSplit`."""

  def __init__(self, split: str, seed: int, count: int):
    """Names the scenes from 0 to `count`.

    Raises:
      UserError: an unknown split, or no scenes.
    """
    lookup(SPLITS, split, 'split of digit scenes')
    if count < 1:
      raise UserError(f'{count} digit scenes are none; give a number of at least 1')
    self.name, self.categories = split, CATEGORIES
    self.ids = np.arange(count, dtype=np.int64)
    self.sizes = np.full((count, 2), SIDE, np.int32)
    self._seed = seed

  def load(self, index: int) -> tuple[np.ndarray, Instances]:
    """Returns an image and what is on it."""
    one = scene(self.name, self._seed, index)
    return one.image, Instances(one.boxes, one.labels, tuple(map(masks.encode, one.masks)))

  def trainable(self, settings: Settings) -> np.ndarray:
    """Returns all scenes: none is empty.

    Raises:
      UserError: a scene can have more boxes than fit.
    """
    if settings.max_boxes < MOST:
      raise UserError(
        f'max_boxes={settings.max_boxes}: a digit scene has up to {MOST} objects; set '
        f'--config.detection.max_boxes={MOST}'
      )
    return np.arange(len(self.ids), dtype=np.int64)

  def ground_truth(self) -> dict[str, Any]:
    """Returns the content of a COCO JSON."""
    return coco_dict.build(self, [f'{index:06d}.png' for index in self.ids])

  def check(self) -> None:
    """Nothing can be wrong."""
