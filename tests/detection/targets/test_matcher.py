"""The matcher: torchvision's exactly, mmdetection's by its loop."""

import functools

import jax
import numpy as np
import pytest
import torch

from ecanet_jax.detection.boxes.iou import iou
from ecanet_jax.detection.presets import MMDET1, TORCHVISION
from ecanet_jax.detection.targets.matcher import IGNORED, NEGATIVE, POSITIVE, match
from tests.support.detection_boxes import random_boxes

STAGES = pytest.mark.parametrize('stage', ['rpn_match', 'roi_match'])


def qualities(seed, boxes=6, number=300):
  """IoUs of boxes and of a grid of anchors, with ties, exact thresholds and untouched rows."""
  random = np.random.default_rng(seed)
  truth = np.round(random_boxes(random, boxes, 64, 64, least=6))
  anchors = np.round(random_boxes(random, number, 64, 64, least=6))
  anchors[:3] = truth[:3]
  quality = np.array(iou(truth, anchors, TORCHVISION))
  quality[:, 10:14] = [[0.7], [0.5], [0.3], [0.0], [0.7], [0.3]]
  quality[4] *= 0.4  # its best anchor is below every threshold
  quality[5, 20:30] = quality[5].max()
  return quality.astype(np.float32)


@functools.partial(jax.jit, static_argnames='rule')
def matched(quality, valid, candidates, rule):
  return match(quality, valid, candidates, rule)


def ours(quality, rule, valid=None, candidates=None):
  valid = np.ones(len(quality), bool) if valid is None else valid
  candidates = np.ones(quality.shape[1], bool) if candidates is None else candidates
  return jax.tree.map(np.asarray, matched(quality, valid, candidates, rule))


@STAGES
def test_equal_to_torchvision(stage):
  detection = pytest.importorskip('torchvision.models.detection')
  rule = getattr(TORCHVISION, stage)
  matcher = detection._utils.Matcher(rule.positive, rule.negative, rule.best_box)
  for seed in range(5):
    quality = qualities(seed)
    index = matcher(torch.tensor(quality)).numpy()
    kind, box = ours(quality, rule)
    np.testing.assert_array_equal(
      kind, np.select([index >= 0, index == -1], [POSITIVE, NEGATIVE], IGNORED))
    np.testing.assert_array_equal(box, np.maximum(index, 0))


@STAGES
def test_mmdet1_by_its_loop(stage):
  """core/bbox/assigners/max_iou_assigner.py, `assign_wrt_overlaps`."""
  rule = getattr(MMDET1, stage)
  for seed in range(5):
    quality = qualities(seed)
    assigned = np.full(quality.shape[1], -1)
    best = quality.max(0)
    assigned[best < rule.negative] = 0
    assigned[best >= rule.positive] = quality.argmax(0)[best >= rule.positive] + 1
    for row, highest in enumerate(quality.max(1)):
      if highest >= rule.best_box_iou:
        assigned[quality[row] == highest] = row + 1
    kind, box = ours(quality, rule)
    np.testing.assert_array_equal(kind, np.minimum(assigned, 1))
    np.testing.assert_array_equal(box, np.maximum(assigned - 1, 0))


def test_best_boxes_below_the_thresholds():
  """torchvision takes any best IoU, mmdetection 0.3; and they differ in whose the anchor is."""
  quality = np.float32([[0.2, 0.1, 0.0], [0.5, 0.45, 0.4], [0.6, 0.45, 0.1]])
  kind, box = ours(quality, TORCHVISION.rpn_match)
  assert (kind.tolist(), box.tolist()) == ([POSITIVE, IGNORED, IGNORED], [2, 0, 0])
  two = quality[:2]
  assert ours(two, TORCHVISION.rpn_match).box.tolist() == [1, 0, 0]
  assert ours(two[::-1], MMDET1.rpn_match).box.tolist() == [0, 0, 0]
  shared = np.float32([[0.6, 0.2], [0.5, 0.1]])  # the first anchor is the best of both boxes
  assert ours(shared, TORCHVISION.rpn_match).box.tolist() == [0, 0]
  assert ours(shared, MMDET1.rpn_match).box.tolist() == [1, 0]
  assert ours(quality[:1], MMDET1.rpn_match).kind.tolist() == [NEGATIVE] * 3


@pytest.mark.parametrize('preset', [TORCHVISION, MMDET1])
def test_rows_and_columns_that_do_not_count_change_nothing(preset):
  quality = qualities(7)
  valid, candidates = np.arange(6) != 2, np.arange(300) % 3 > 0
  kind, box = ours(quality, preset.rpn_match, valid, candidates)
  less = ours(quality[valid][:, candidates], preset.rpn_match)
  np.testing.assert_array_equal(kind[candidates], less.kind)
  rows = np.flatnonzero(valid)[less.box]
  np.testing.assert_array_equal(box[candidates], np.where(less.kind == POSITIVE, rows, 0))
  assert set(kind[~candidates]) == {IGNORED}


@pytest.mark.parametrize('preset', [TORCHVISION, MMDET1])
@STAGES
def test_no_ground_truth_makes_all_boxes_negative(preset, stage):
  kind, box = ours(qualities(8), getattr(preset, stage), valid=np.zeros(6, bool))
  assert set(kind) == {NEGATIVE} and set(box) == {0}
