"""Detections of RetinaNet: torchvision's post-processing, and mmdetection's by its steps."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from ecanet_jax.detection.boxes.anchors import anchors_of, anchors_on_image, level_sizes
from ecanet_jax.detection.boxes.coder import decode
from ecanet_jax.detection.boxes.geometry import clip
from ecanet_jax.detection.presets import RETINANET_MMDET1, RETINANET_TORCHVISION
from ecanet_jax.detection.selection.dense import select_from_anchors
from tests.support.torchvision_detection import nms, use_pure_operators

IMAGE = (64, 96)
SHAPES = [(8, 12), (4, 6), (2, 3), (1, 2), (1, 1)]
SIZES = level_sizes(SHAPES, RETINANET_TORCHVISION)
CLASSES, MOST, DETECTIONS = 4, 30, 40
RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.permutation(np.linspace(-6, 3, sum(SIZES) * CLASSES)).astype(np.float32)
LOGITS = LOGITS.reshape(-1, CLASSES)
DELTAS = RANDOM.normal(0, 0.5, (sum(SIZES), 4)).astype(np.float32)


def rules_of(preset):
  return dataclasses.replace(
    preset, proposals_before_nms=(1, MOST), detections=DETECTIONS, score=0.1)


def detections_of(rules, size=IMAGE):
  size = jnp.asarray(size)
  run = jax.jit(lambda logits, deltas: select_from_anchors(
    logits, deltas, anchors_of(SHAPES, IMAGE, rules), anchors_on_image(SHAPES, size, rules), SIZES,
    size, rules))
  return jax.tree.map(np.asarray, run(LOGITS, DELTAS))


def test_equal_to_torchvision():
  detection = pytest.importorskip('torchvision.models.detection')
  use_pure_operators()
  rules = rules_of(RETINANET_TORCHVISION)
  body = torch.nn.Identity()
  body.out_channels = 8
  network = detection.RetinaNet(
    body, CLASSES, score_thresh=0.1, detections_per_img=DETECTIONS, topk_candidates=MOST)
  levels = lambda x: list(torch.tensor(np.array(x)).split(SIZES))
  (theirs,) = network.postprocess_detections(
    {'cls_logits': [x[None] for x in levels(LOGITS)],
     'bbox_regression': [x[None] for x in levels(DELTAS)]},
    [levels(anchors_of(SHAPES, IMAGE, rules))], [IMAGE])
  ours = detections_of(rules)
  assert ours.valid.sum() == len(theirs['boxes']) == DETECTIONS
  np.testing.assert_array_equal(ours.labels, theirs['labels'])
  np.testing.assert_allclose(ours.boxes, theirs['boxes'], atol=1e-4)
  np.testing.assert_allclose(ours.scores, theirs['scores'], atol=1e-6)


def test_mmdet1_by_its_steps():
  """anchor_head.py of rc0, `get_bboxes_single`: the best anchors of a level with all classes."""
  rules = rules_of(RETINANET_MMDET1)
  anchors = np.asarray(anchors_of(SHAPES, IMAGE, rules))
  rows = np.concatenate([
    level[np.argsort(-LOGITS[level].max(1), kind='stable')][:MOST]
    for level in np.split(np.arange(sum(SIZES)), np.cumsum(SIZES)[:-1])])
  boxes = np.asarray(clip(decode(DELTAS[rows], anchors[rows], rules), IMAGE, rules))
  scores = 1 / (1 + np.exp(-LOGITS[rows]))
  found = []
  for label in range(CLASSES):
    usable = np.flatnonzero(scores[:, label] > 0.1)
    for row in usable[nms(boxes[usable], scores[usable, label], 0.5, 1.0)]:
      found.append((scores[row, label], label, *boxes[row]))
  found = np.asarray(sorted(found, key=lambda row: -row[0])[:DETECTIONS])
  ours = detections_of(rules)
  np.testing.assert_array_equal(ours.labels, found[:, 1])
  np.testing.assert_allclose(ours.boxes, found[:, 2:], atol=1e-4)
  np.testing.assert_allclose(ours.scores, found[:, 0], atol=1e-6)


def test_detections_stay_on_a_smaller_image():
  ours = detections_of(rules_of(RETINANET_TORCHVISION), (32, 40))
  boxes = ours.boxes[ours.valid]
  assert len(boxes) > 0 and boxes.min() >= 0
  assert boxes[:, 2].max() <= 40 and boxes[:, 3].max() <= 32
