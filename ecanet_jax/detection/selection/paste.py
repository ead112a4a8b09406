"""Predicted masks as bitmaps of the image, with NumPy on the host."""

import numpy as np

from ecanet_jax.detection.presets import Preset

THRESHOLD = 0.5


def paste_masks(masks: np.ndarray, boxes: np.ndarray, image_size: tuple[int, int], preset: Preset,
                threshold: float = THRESHOLD) -> np.ndarray:
  """Resizes each mask into its box and says which pixels are above the threshold.

  Args:
    masks: probabilities, `[N, M, M]`.
    boxes: `[N, 4]`, in pixels of the image that is pasted into.
    image_size: height and width.
    preset: `mask_border`; torchvision keeps a border of zeros, mmdetection has none.
    threshold: of the resized probabilities.

  Returns:
    `[N, H, W]`, True or False.
  """
  height, width = image_size
  pasted = np.zeros((len(masks), height, width), bool)
  border = preset.mask_border
  for image, mask, (x1, y1, x2, y2) in zip(pasted, masks, _grown(masks, boxes, border),
                                           strict=True):
    padded = np.pad(np.asarray(mask, np.float32), border)
    rows, columns = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
    top, bottom = np.clip([y1, y1 + rows], 0, height)
    left, right = np.clip([x1, x1 + columns], 0, width)
    down = _resize(len(padded), rows, np.arange(top, bottom) - y1)
    across = _resize(len(padded), columns, np.arange(left, right) - x1)
    image[top:bottom, left:right] = down @ padded @ across.T > threshold
  return pasted


def _grown(masks: np.ndarray, boxes: np.ndarray, border: int) -> np.ndarray:
  """Boxes that hold the mask and its border, cut to whole pixels."""
  boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
  scale = np.float32((masks.shape[-1] + 2 * border) / masks.shape[-1])
  centre = (boxes[:, 2:] + boxes[:, :2]) * np.float32(0.5)
  half = (boxes[:, 2:] - boxes[:, :2]) * np.float32(0.5) * scale
  grown = np.concatenate([centre - half, centre + half], axis=1) if border else boxes
  return np.trunc(grown).astype(np.int64)


def _resize(cells: int, pixels: int, wanted: np.ndarray) -> np.ndarray:
  """Weights `[wanted, cells]` of a bilinear resize from `cells` to `pixels`, of some pixels."""
  at = np.clip((wanted + np.float32(0.5)) * np.float32(cells / pixels) - np.float32(0.5), 0, None)
  at = np.minimum(at, cells - 1).astype(np.float32)
  return np.maximum(1 - np.abs(at[:, None] - np.arange(cells, dtype=np.float32)[None, :]), 0)
