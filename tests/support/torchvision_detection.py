"""torchvision's detection beside a PyTorch that its wheel was not built for.

Its compiled operators do not load there. NMS is then `nms` below, and RoIAlign is torchvision's own
form in PyTorch's operations. Where the operators do load, they are used.
"""

import sys

import numpy as np
import torch

from ecanet_jax.weights.torchvision_shim import import_torchvision

import_torchvision()

from torchvision import extension  # noqa: E402
from torchvision.ops import boxes as box_ops  # noqa: E402

_libraries = []  # an implementation lives as long as its library


def nms(boxes: np.ndarray, scores: np.ndarray, threshold: float, pixel: float = 0.0) -> np.ndarray:
  """The rows that are kept, the best first, as torchvision's ops/cpu/nms_kernel.cpp has it."""
  x1, y1, x2, y2 = np.asarray(boxes, np.float32).T
  pixel = np.float32(pixel)
  areas = (x2 - x1 + pixel) * (y2 - y1 + pixel)
  order = np.argsort(-np.asarray(scores), kind='stable')
  dropped, kept = np.zeros(len(order), bool), []
  for rank, row in enumerate(order):
    if dropped[row]:
      continue
    kept.append(row)
    rest = order[rank + 1:]
    width = np.minimum(x2[row], x2[rest]) - np.maximum(x1[row], x1[rest]) + pixel
    height = np.minimum(y2[row], y2[rest]) - np.maximum(y1[row], y1[rest]) + pixel
    both = np.maximum(width, 0) * np.maximum(height, 0)
    with np.errstate(divide='ignore', invalid='ignore'):
      dropped[rest] |= both / (areas[row] + areas[rest] - both) > np.float32(threshold)
  return np.asarray(kept, np.int64)


def use_pure_operators() -> None:
  """Makes NMS and RoIAlign of torchvision run; does nothing where its compiled operators load."""
  if extension._has_ops() or _libraries:
    return
  library = torch.library.Library('torchvision', 'IMPL')
  library.impl('nms', lambda boxes, scores, threshold: torch.from_numpy(
    nms(boxes.detach().numpy(), scores.detach().numpy(), threshold)), 'CPU')
  _libraries.append(library)
  module = sys.modules['torchvision.ops.roi_align']
  module._roi_align = module._roi_align.__wrapped__  # else it calls torch.compile
  interpolate = module._bilinear_interpolate

  def zero_outside(x, image, row, column, *masks):
    """The compiled operators give 0 beyond a cell outside of the map; this form does not."""
    height, width = x.shape[-2:]
    down, right = (row >= -1) & (row <= height), (column >= -1) & (column <= width)
    inside = down[:, None, :, None, :, None] & right[:, None, None, :, None, :]
    return interpolate(x, image, row, column, *masks) * inside

  module._bilinear_interpolate = zero_outside
  box_ops._assert_has_ops = lambda: None
