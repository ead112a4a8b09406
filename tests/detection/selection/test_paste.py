"""Pasted masks: torchvision's, and mmdetection's by its formula."""

import numpy as np
import pytest
import torch

from ecanet_jax.detection.presets import MMDET1, TORCHVISION
from ecanet_jax.detection.selection.paste import paste_masks
from tests.support.detection_boxes import random_boxes

IMAGE = (60, 80)
RANDOM = np.random.default_rng(0)
BOXES = np.concatenate([
  random_boxes(RANDOM, 12, *IMAGE, least=5),
  np.float32([[0, 0, 80, 60], [70, 50, 80, 60], [-9, -5, 20, 30], [30, 30, 30, 30]])])
MASKS = RANDOM.uniform(size=(len(BOXES), 14, 14)).astype(np.float32)
MASKS[:, 4:10, 4:10] = 0.9


def resize(mask, rows, columns):
  return torch.nn.functional.interpolate(
    torch.tensor(mask)[None, None], size=(rows, columns), mode='bilinear')[0, 0].numpy()


def test_equal_to_torchvision():
  detection = pytest.importorskip('torchvision.models.detection')
  theirs = detection.roi_heads.paste_masks_in_image(
    torch.tensor(MASKS)[:, None], torch.tensor(BOXES), IMAGE)[:, 0].numpy() > 0.5
  ours = paste_masks(MASKS, BOXES, IMAGE, TORCHVISION)
  assert ours.shape == (len(BOXES), *IMAGE) and 0.01 < ours.mean() < 0.9
  assert np.mean(ours != theirs) <= 1e-4


def test_mmdet1_by_its_formula():
  """fcn_mask_head.py of rc0, `get_seg_masks`, for boxes within the image."""
  boxes = np.minimum(BOXES[:14], [79, 59, 79, 59])
  expected = np.zeros((14, *IMAGE), bool)
  for image, mask, box in zip(expected, MASKS[:14], boxes, strict=True):
    x1, y1, x2, y2 = box.astype(np.int32)
    rows, columns = y2 - y1 + 1, x2 - x1 + 1
    image[y1 : y1 + rows, x1 : x1 + columns] = resize(mask, rows, columns) > 0.5
  assert np.mean(paste_masks(MASKS[:14], boxes, IMAGE, MMDET1) != expected) <= 1e-4


def test_no_mask():
  assert paste_masks(MASKS[:0], BOXES[:0], IMAGE, TORCHVISION).shape == (0, *IMAGE)
