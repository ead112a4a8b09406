"""Boxes for the tests of detection."""

import numpy as np


def random_boxes(random: np.random.Generator, number: int, height: float, width: float,
                 least: float = 2.0, most: float = 0.6) -> np.ndarray:
  """Boxes within an image, `[number, 4]`, with sides from `least` pixels to `most` of the image."""
  size = np.asarray([width, height])
  sides = np.exp(random.uniform(np.log(least), np.log(most * size), (number, 2)))
  corners = random.uniform(0, 1, (number, 2)) * (size - sides)
  return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


def clusters(random: np.random.Generator, number: int, each: int = 8) -> np.ndarray:
  """Boxes in clusters of `each` that overlap much, `[number, 4]`, in an image of 800 x 1344."""
  centres = random_boxes(random, -(-number // each), 800, 1344, least=16)
  boxes = np.repeat(centres, each, axis=0)[:number]
  sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
  return (boxes + random.normal(0, 0.1, boxes.shape) * sides).astype(np.float32)
