"""Mask targets: torchvision's pooling and mmdetection's resize, from bitmaps and from crops."""

import functools

import jax
import numpy as np
import pytest
import torch

from ecanet_jax.detection.presets import MMDET1, TORCHVISION
from ecanet_jax.detection.targets.masks import mask_targets
from tests.support.detection_boxes import random_boxes
from tests.support.torchvision_detection import use_pure_operators

IMAGE = (70, 90)
SIZE = 14
OBJECT = np.uint8(255)
RANDOM = np.random.default_rng(0)


def ellipses(boxes, image=IMAGE):
  """Bitmaps of the ellipses in boxes, uint8, 0 or 255."""
  y, x = np.mgrid[: image[0], : image[1]] + 0.5
  x1, y1, x2, y2 = boxes.T[:, :, None, None]
  return (((2 * x - x1 - x2) / (x2 - x1)) ** 2 + ((2 * y - y1 - y2) / (y2 - y1)) ** 2 <= 1) * OBJECT


TRUTH = np.round(random_boxes(RANDOM, 5, *IMAGE, least=20))
MATCHED = np.arange(20) % 5
ROIS = np.clip(TRUTH[MATCHED] + RANDOM.normal(0, 4, (20, 4)), 0, [89, 69, 89, 69]).astype('float32')
ROIS[0], ROIS[1] = [0, 0, 90, 70], [20, 20, 20, 20]  # the whole image; without area
MASKS = ellipses(TRUTH)


@functools.partial(jax.jit, static_argnames=('preset', 'image'))
def targets(masks, frames, preset, image=IMAGE):
  return mask_targets(masks, frames, ROIS, MATCHED, SIZE, image, preset)


def test_equal_to_torchvision():
  detection = pytest.importorskip('torchvision.models.detection')
  use_pure_operators()
  theirs = detection.roi_heads.project_masks_on_boxes(
    torch.tensor(MASKS // OBJECT), torch.tensor(ROIS), torch.tensor(MATCHED), SIZE)
  assert 0.2 < theirs.mean() < 0.8
  np.testing.assert_allclose(targets(MASKS, None, TORCHVISION), theirs, atol=1e-4)


def test_mmdet1_by_its_formula():
  """Whole pixels, resized bilinearly and rounded: core/mask/mask_target.py of rc0."""
  ours = np.asarray(targets(MASKS, None, MMDET1))
  for roi, row, target in zip(ROIS, MATCHED, ours, strict=True):
    x1, y1, x2, y2 = roi.astype(np.int32)
    crop = MASKS[row][y1 : y2 + 1, x1 : x2 + 1].astype(np.float32) / OBJECT
    resized = torch.nn.functional.interpolate(
      torch.tensor(crop)[None, None], size=(SIZE, SIZE), mode='bilinear')[0, 0].numpy()
    clear = np.abs(resized - 0.5) > 1e-4
    np.testing.assert_array_equal(target[clear], (resized > 0.5)[clear])
  assert set(np.unique(ours)) == {0, 1}


@pytest.mark.parametrize('preset', [TORCHVISION, MMDET1])
def test_crops_give_nearly_the_same_as_bitmaps(preset):
  """A crop has 112 x 112 cells in its box; it has its own steps at the edges of a shape."""
  frames = TRUTH
  fine = ellipses(TRUTH * 8, (IMAGE[0] * 8, IMAGE[1] * 8))
  index = lambda first, last: np.clip(
    (8 * (first + (np.arange(112) + 0.5) * (last - first) / 112)).astype(int), 0, None)
  crops = np.stack([mask[np.ix_(index(y1, y2), index(x1, x2))]
                    for mask, (x1, y1, x2, y2) in zip(fine, frames, strict=True)])
  whole, cropped = targets(MASKS, None, preset), targets(crops, frames, preset)
  assert np.mean(np.abs(whole - cropped)) < 0.02


def test_bitmaps_of_a_crop_that_is_the_image_are_equal():
  frames = np.tile(np.float32([[0, 0, IMAGE[1], IMAGE[0]]]), (5, 1))
  inside = np.all((ROIS[:, :2] >= 0) & (ROIS[:, 2:] <= [89, 69]), axis=1)
  np.testing.assert_allclose(
    targets(MASKS, frames, TORCHVISION)[inside], targets(MASKS, None, TORCHVISION)[inside],
    atol=1e-5)


def test_soft_edges_stay():
  """A mask that is half the object everywhere gives targets of a half."""
  masks = np.full((5, 112, 112), 128, np.uint8)
  inside = targets(masks, np.tile(np.float32([[-9, -9, 99, 79]]), (5, 1)), TORCHVISION)
  np.testing.assert_allclose(inside, 128 / 255, atol=1e-5)


def test_masks_of_another_type():
  with pytest.raises(TypeError, match='masks are bool; they must be uint8, from 0 to 255'):
    targets(MASKS > 0, None, TORCHVISION)
