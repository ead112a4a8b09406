"""Proposals and detections: torchvision's post-processing on the same numbers."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from ecanet_jax.detection.boxes.anchors import anchors_of, anchors_on_image, level_sizes
from ecanet_jax.detection.boxes.coder import decode
from ecanet_jax.detection.boxes.geometry import clip
from ecanet_jax.detection.presets import MMDET1, TORCHVISION
from ecanet_jax.detection.selection.detections import masks_of_classes, select_detections
from ecanet_jax.detection.selection.proposals import select_proposals
from tests.support.detection_boxes import random_boxes
from tests.support.torchvision_detection import nms, use_pure_operators

IMAGE = (64, 96)
SHAPES = [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
SIZES = level_sizes(SHAPES, TORCHVISION)
NUMBERS = {'proposals_before_nms': (200, 60), 'proposals': (90, 30), 'anchor_scales': (4.0,)}
RANDOM = np.random.default_rng(0)
LOGITS = (RANDOM.permutation(sum(SIZES)) / 200 - 4).astype(np.float32)
DELTAS = RANDOM.normal(0, 0.5, (sum(SIZES), 4)).astype(np.float32)
DELTAS[np.argmax(LOGITS)] = [50, 0, -9, 0]  # the best one is outside of the image
CLASSES, ROIS = 6, 40
PROPOSALS = random_boxes(RANDOM, ROIS, *IMAGE, least=8)
SCORES = RANDOM.normal(0, 1.5, (ROIS, CLASSES)).astype(np.float32)
OFFSETS = RANDOM.normal(0, 1, (ROIS, CLASSES, 4)).astype(np.float32)
OFFSETS[3, 2] = [900, 900, 0, 0]  # outside of the image


@functools.partial(jax.jit, static_argnames=('rules', 'training', 'method'))
def proposals_of(rules, training, size, method=''):
  anchors = anchors_of(SHAPES, IMAGE, rules)
  on_image = anchors_on_image(SHAPES, size, rules)
  return select_proposals(LOGITS, DELTAS, anchors, on_image, SIZES, size, rules, training, method)


@functools.partial(jax.jit, static_argnames='rules')
def detections_of(rules, valid, size):
  return select_detections(SCORES, OFFSETS, PROPOSALS, valid, size, rules)


@pytest.mark.parametrize('training', [True, False])
def test_proposals_equal_torchvision(training):
  detection = pytest.importorskip('torchvision.models.detection')
  use_pure_operators()
  rules = dataclasses.replace(TORCHVISION, **NUMBERS)
  (train_before, test_before), (train, test) = rules.proposals_before_nms, rules.proposals
  rpn = detection.rpn.RegionProposalNetwork(
    None, None, 0.7, 0.3, 256, 0.5, {'training': train_before, 'testing': test_before},
    {'training': train, 'testing': test}, 0.7).train(training)
  anchors = torch.tensor(np.array(anchors_of(SHAPES, IMAGE, rules)))
  boxes = rpn.box_coder.decode(torch.tensor(DELTAS), [anchors]).reshape(1, -1, 4)
  (boxes,), (scores,) = rpn.filter_proposals(
    boxes, torch.tensor(LOGITS)[None], [IMAGE], list(SIZES))
  for method in ('matrix', 'sequential'):
    ours = proposals_of(rules, training, jnp.asarray(IMAGE), method)
    count = int(ours.valid.sum())
    assert count == len(boxes) and ours.boxes.shape == ((train if training else test), 4)
    np.testing.assert_allclose(ours.boxes[:count], boxes, atol=1e-4)
    np.testing.assert_allclose(ours.scores[:count], scores, atol=1e-6)
    assert not np.any(ours.boxes[count:])


def test_mmdet1_proposals_by_their_steps():
  """rpn_head.py of rc0, `get_bboxes_single`: top of a level, decode, NMS; top of all levels."""
  rules = dataclasses.replace(MMDET1, **NUMBERS)
  every = jax.jit(lambda deltas: clip(
    decode(deltas, anchors_of(SHAPES, IMAGE, rules), rules), IMAGE, rules))
  decoded, boxes, scores = np.asarray(every(DELTAS)), [], []
  for rows in np.split(np.arange(sum(SIZES)), np.cumsum(SIZES)[:-1]):
    rows = rows[np.argsort(-LOGITS[rows])][:200]
    kept = rows[nms(decoded[rows], LOGITS[rows], 0.7, 1.0)]
    boxes.append(decoded[kept])
    scores.append(LOGITS[kept])
  boxes, scores = np.concatenate(boxes), np.concatenate(scores)
  best = np.argsort(-scores)[:90]
  ours = proposals_of(rules, True, jnp.asarray(IMAGE))
  np.testing.assert_allclose(ours.boxes[: len(best)], boxes[best], atol=1e-4)
  np.testing.assert_allclose(ours.scores[: len(best)], 1 / (1 + np.exp(-scores[best])), atol=1e-6)


def test_proposals_stay_on_a_smaller_image():
  rules = dataclasses.replace(TORCHVISION, **NUMBERS)
  ours = proposals_of(rules, True, jnp.asarray([32, 40]))
  boxes = np.asarray(ours.boxes)[np.asarray(ours.valid)]
  assert len(boxes) > 0 and boxes.min() >= 0
  assert boxes[:, 2].max() <= 40 and boxes[:, 3].max() <= 32


@pytest.mark.parametrize('detections', [100, 12])
def test_detections_equal_torchvision(detections):
  detection = pytest.importorskip('torchvision.models.detection')
  use_pure_operators()
  rules = dataclasses.replace(TORCHVISION, detections=detections, score=0.1)
  heads = detection.roi_heads.RoIHeads(
    None, None, None, 0.5, 0.5, 512, 0.25, None, 0.1, 0.5, detections)
  count = ROIS - 4
  (boxes,), (scores,), (labels,) = heads.postprocess_detections(
    torch.tensor(SCORES[:count]), torch.tensor(OFFSETS[:count]).flatten(1),
    [torch.tensor(PROPOSALS[:count])], [IMAGE])
  ours = detections_of(rules, np.arange(ROIS) < count, jnp.asarray(IMAGE))
  found = int(ours.valid.sum())
  assert found == len(boxes) and 0 < found <= detections and len(ours.labels) == detections
  np.testing.assert_array_equal(ours.labels[:found] + 1, labels)
  np.testing.assert_allclose(ours.boxes[:found], boxes, atol=1e-4)
  np.testing.assert_allclose(ours.scores[:found], scores, atol=1e-6)
  assert not np.any(ours.labels[found:]) and not np.any(ours.boxes[found:])


def test_mmdet1_detections_by_their_steps():
  """bbox_nms.py of rc0: NMS of each class with widths + 1, then the best of all."""
  rules = dataclasses.replace(MMDET1, score=0.1, detections=20)
  probabilities = np.asarray(jax.nn.softmax(SCORES))
  boxes = np.asarray(clip(decode(OFFSETS, PROPOSALS[:, None], rules, rules.box_weights), IMAGE,
                          rules))
  rows = []
  for label in range(1, CLASSES):
    usable = np.flatnonzero(probabilities[:, label] > 0.1)
    for row in usable[nms(boxes[usable, label], probabilities[usable, label], 0.5, 1.0)]:
      rows.append((probabilities[row, label], label, *boxes[row, label]))
  rows = np.asarray(sorted(rows, key=lambda row: -row[0])[:20])
  ours = detections_of(rules, np.ones(ROIS, bool), jnp.asarray(IMAGE))
  np.testing.assert_array_equal(ours.labels + 1, rows[:, 1])
  np.testing.assert_allclose(ours.boxes, rows[:, 2:], atol=1e-4)
  np.testing.assert_allclose(ours.scores, rows[:, 0], atol=1e-6)


def test_no_proposal_no_detection():
  ours = detections_of(TORCHVISION, np.zeros(ROIS, bool), jnp.asarray(IMAGE))
  assert not any(np.any(x) for x in ours)


def test_masks_of_classes():
  logits = RANDOM.normal(size=(3, 4, 4, CLASSES)).astype(np.float32)
  ours = masks_of_classes(logits, jnp.asarray([1, 0, 4]))
  expected = 1 / (1 + np.exp(-np.stack([logits[0, ..., 2], logits[1, ..., 1], logits[2, ..., 5]])))
  np.testing.assert_allclose(ours, expected, atol=1e-6)
