"""The detections of a file beside those of the network in JAX."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

NEAR = 1.0  # pixels: boxes of one class that are farther apart are different detections
STRAY = 1000  # one in so many may be found by one side alone: rounding decides at a threshold
BOX = 1e-4  # the largest difference of a box, relative to the longer side of the images
SCORE = 1e-3  # the largest difference of a score
MASK = 1e-2  # of a mask's probability; a box that moves by a hundredth of a pixel moves its mask


@dataclasses.dataclass(frozen=True)
class Matches:
  """How detections differ from ours.

  Attributes:
    images: that were compared.
    found: our detections on them.
    alone: detections of either side without one of the same class within NEAR pixels.
    box: the largest difference of a side of a box, in pixels.
    score: of a score.
    mask: of a mask's probability; 0 without masks.
  """

  images: int
  found: int
  alone: int
  box: float
  score: float
  mask: float

  @classmethod
  def of(cls, theirs: Mapping[str, np.ndarray], ours: Mapping[str, np.ndarray]) -> 'Matches':
    """Compares the detections of the same images, as a `DetectorProgram` gives them."""
    found = alone = 0
    box = score = mask = 0.0
    for image in range(len(ours['valid'])):
      left, right = ({name: value[image][side['valid'][image]] for name, value in side.items()}
                     for side in (ours, theirs))
      rows, others = _pairs(left, right)
      found += len(left['boxes'])
      alone += len(left['boxes']) + len(right['boxes']) - 2 * len(rows)
      box = max(box, _largest(left['boxes'][rows], right['boxes'][others]))
      score = max(score, _largest(left['scores'][rows], right['scores'][others]))
      if 'masks' in left:
        mask = max(mask, _largest(left['masks'][rows], right['masks'][others]))
    return cls(len(ours['valid']), found, alone, box, score, mask)

  def fault(self, limit: float) -> str:
    """What is too different, in words; '' if nothing is.

    Args:
      limit: of the boxes, in pixels.
    """
    if self.alone > self.found // STRAY:
      return f'{self.alone} detections are on one side alone, of {self.found}'
    if not self.box <= limit:
      return f'boxes differ by {self.box:.1e} pixels, more than {limit:.1e}'
    if not self.score <= SCORE:
      return f'scores differ by {self.score:.1e}, more than {SCORE:g}'
    return '' if self.mask <= MASK else f'masks differ by {self.mask:.1e}, more than {MASK:g}'

  def to_json(self) -> dict[str, Any]:
    """For export.json, rounded to what does not depend on the threads."""
    rounded = {name: float(f'{getattr(self, name):.0e}') for name in ('box', 'score', 'mask')}
    return {'images': self.images, 'found': self.found, 'alone': self.alone, **rounded}

  def __str__(self) -> str:
    return (
      f'{self.found} detections, {self.alone} without a match, boxes within {self.box:.1e} pixels, '
      f'scores within {self.score:.1e}' + (f', masks within {self.mask:.1e}' if self.mask else '')
    )


def _pairs(
  ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]
) -> tuple[list[int], list[int]]:
  """Rows of one image that belong together: the same class, the nearest box that is left."""
  rows, others = [], []
  for row, (box, label) in enumerate(zip(ours['boxes'], ours['labels'], strict=True)):
    distance = np.abs(theirs['boxes'] - box).max(axis=1, initial=0.0)
    distance = np.where(theirs['labels'] == label, distance, np.inf)
    distance[others] = np.inf
    if len(distance) and distance.min() <= NEAR:
      rows.append(row)
      others.append(int(distance.argmin()))
  return rows, others


def _largest(a: np.ndarray, b: np.ndarray) -> float:
  """The largest difference; 0 of nothing."""
  return float(np.abs(a.astype(np.float64) - b).max(initial=0.0))
