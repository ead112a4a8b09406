"""The arrays of a batch are what the targets of a detector take: labels, masks, empty rows."""

import dataclasses

import jax
import numpy as np

from ecanet_jax.data.detection.digit_scenes import SceneSplit
from ecanet_jax.data.detection.settings import Settings
from ecanet_jax.data.detection.transforms import prepare
from ecanet_jax.detection.presets import TORCHVISION
from ecanet_jax.detection.targets.masks import mask_targets
from ecanet_jax.detection.targets.rois import roi_targets

SIDE, MOST = 128, 10
SETTINGS = Settings(
  shorter=SIDE, longer=SIDE, buckets=((SIDE, SIDE),), max_boxes=MOST, masks='crops')


def test_labels_and_masks_of_a_scene():
  """The ground truth as RoIs: its labels behind the background, its masks as crops and bitmaps."""
  scene = SceneSplit('train', 0, 10).load(3)
  crops = prepare(*scene, SETTINGS, 0)
  bitmaps = prepare(*scene, dataclasses.replace(SETTINGS, masks='bitmaps'), 0)['masks']
  boxes, labels, valid = (crops[name] for name in ('boxes', 'labels', 'valid'))
  count = len(scene[1].labels)
  assert 0 < valid.sum() == count < MOST

  @jax.jit
  def targets(boxes, labels, valid, crops, bitmaps):
    rois = roi_targets(jax.random.key(0), np.zeros((4, 4), np.float32), np.zeros(4, bool), boxes,
                       labels, valid, TORCHVISION)
    return rois, *(mask_targets(masks, frames, rois.boxes, rois.matched, 28, (SIDE, SIDE),
                                TORCHVISION)
                   for masks, frames in ((crops, boxes), (bitmaps, None)))

  rois, *masks = jax.tree.map(np.asarray, targets(boxes, labels, valid, crops['masks'], bitmaps))
  assert rois.positive.sum() == count
  np.testing.assert_array_equal(rois.labels[:count], scene[1].labels[rois.matched[:count]] + 1)
  assert not rois.labels[count:].any()
  cropped, whole = (x[:count] for x in masks)
  assert cropped.max() > 0.99 and 0.1 < cropped.mean() < 0.9
  assert np.abs(cropped - whole).mean() < 0.03
