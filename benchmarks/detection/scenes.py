"""The digit scenes that both sides look at."""

import numpy as np

from ecanet_jax.data.detection.digit_scenes import Scene, scene
from ecanet_jax.tasks.detection.detections import Detections

NUMBER = 8  # different scenes


def unseen() -> list[np.ndarray]:
  """Images of the evaluation, uint8 `[128, 128, 3]` each."""
  return [scene('test', 0, index).image for index in range(NUMBER)]


def training(batch: int) -> list[Scene]:
  """Scenes of the training, with their objects."""
  return [scene('train', 0, index) for index in range(batch)]


def as_lists(found: Detections) -> dict[str, list]:
  """What is found on an image, for JSON: labels from 0, boxes and scores."""
  return {name: np.asarray(getattr(found, name), float).tolist()
          for name in ('labels', 'boxes', 'scores')}


def differences(ours: list[dict], theirs: list[dict]) -> dict[str, float]:
  """How far two sides are apart: objects on all images, and the largest difference of boxes.

  Raises:
    ValueError: another number of objects, or another label.
  """
  count, largest = 0, 0.0
  for number, (mine, yours) in enumerate(zip(ours, theirs, strict=True)):
    labels, expected = (np.asarray(side['labels']) for side in (mine, yours))
    if sorted(labels) != sorted(expected):
      raise ValueError(f'scene {number}: the two sides find different objects')
    boxes, others = (np.asarray(side['boxes']).reshape(-1, 4) for side in (mine, yours))
    for label in set(labels.tolist()):  # equal scores may change places
      apart = np.abs(boxes[labels == label][:, None] - others[expected == label][None]).max(-1)
      largest = max(largest, float(apart.min(axis=1).max()))
    count += len(labels)
  return {'objects': count, 'box_pixels': largest}
