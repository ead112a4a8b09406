"""RoIAlign of one map, sample by sample in float64: the reference of the tests.

As the CUDA kernels of torchvision (`aligned=False`) and mmdetection 1.0rc0 have it.
"""

import numpy as np


def roi_align(x: np.ndarray, boxes: np.ndarray, size: int, stride: int, pixel: float,
              least: float, samples: int = 2) -> np.ndarray:
  """`[R, size, size, C]` from a map `[H, W, C]` and boxes `[R, 4]`."""
  x, boxes = np.asarray(x, np.float64), np.asarray(boxes, np.float64)
  pooled = np.zeros((len(boxes), size, size, x.shape[-1]))
  for number, (x1, y1, x2, y2) in enumerate(boxes):
    left, top = x1 / stride, y1 / stride
    width = max((x2 + pixel) / stride - left, least)
    height = max((y2 + pixel) / stride - top, least)
    for row, column, i, j in np.ndindex(size, size, samples, samples):
      y = top + row * height / size + (i + 0.5) * height / size / samples
      z = left + column * width / size + (j + 0.5) * width / size / samples
      pooled[number, row, column] += bilinear(x, y, z) / samples**2
  return pooled


def bilinear(x: np.ndarray, row: float, column: float) -> np.ndarray:
  """The value of a map `[H, W, C]` between cells; beyond a cell outside it is 0."""
  height, width, _ = x.shape
  if not (-1 <= row <= height and -1 <= column <= width):
    return np.zeros(x.shape[-1])
  row, column = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
  top, left = int(row), int(column)
  bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
  down, along = row - top, column - left
  return ((1 - down) * ((1 - along) * x[top, left] + along * x[top, right])
          + down * ((1 - along) * x[bottom, left] + along * x[bottom, right]))
