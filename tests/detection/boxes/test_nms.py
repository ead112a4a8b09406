"""IoU and NMS: both forms against torchvision's, with ties, gaps, and boxes without area."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from ecanet_jax.detection.boxes.iou import iou
from ecanet_jax.detection.boxes.nms import nms
from ecanet_jax.detection.presets import MMDET1, TORCHVISION
from tests.support import torchvision_detection
from tests.support.detection_boxes import clusters, random_boxes

METHODS = ('matrix', 'sequential')


@functools.partial(jax.jit, static_argnames=('threshold', 'preset', 'method'))
def kept(boxes, scores, valid, threshold=0.5, preset=TORCHVISION, method=''):
  return nms(boxes, scores, valid, threshold, preset, method)


def expected(boxes, scores, threshold=0.5, pixel=0.0):
  keep = np.zeros(len(boxes), bool)
  keep[torchvision_detection.nms(boxes, scores, threshold, pixel)] = True
  return keep


def scores_of(random, number):
  """Scores that differ."""
  return (random.permutation(number) / number).astype(np.float32)


def test_iou():
  box_ops = pytest.importorskip('torchvision.ops.boxes')
  random = np.random.default_rng(0)
  first, second = random_boxes(random, 40, 200, 300), random_boxes(random, 60, 200, 300)
  theirs = box_ops.box_iou(torch.tensor(first), torch.tensor(second))
  np.testing.assert_allclose(iou(first, second, TORCHVISION), theirs, atol=1e-6)
  # Four of 10 x 10 pixels, and 50 of 150, with x2 and y2 inside.
  boxes = jnp.asarray([[0, 0, 9, 9], [8, 8, 17, 17], [5, 0, 14, 9.0]])
  np.testing.assert_allclose(iou(boxes, boxes, MMDET1)[0], [1, 4 / 196, 50 / 150], rtol=1e-6)


def test_iou_of_boxes_without_area_is_0():
  boxes = jnp.asarray([[3, 3, 3, 3], [3, 3, 3, 3], [0, 0, 9, 9], [9, 9, 0, 0.0]])
  assert np.all(np.isfinite(iou(boxes, boxes, TORCHVISION)))
  assert iou(boxes, boxes, TORCHVISION)[0].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize('preset', [TORCHVISION, MMDET1])
def test_both_methods_equal_the_reference(preset):
  number = 256
  for seed in range(10):
    random = np.random.default_rng(seed)
    boxes, scores = clusters(random, number), scores_of(random, number)
    keep = expected(boxes, scores, 0.5, preset.pixel)
    assert 10 < keep.sum() < number - 10
    for method in METHODS:
      np.testing.assert_array_equal(
        kept(boxes, scores, np.ones(number, bool), 0.5, preset, method), keep)


@pytest.mark.slow
def test_fifty_sets_of_up_to_2000():
  for seed in range(50):
    random = np.random.default_rng(100 + seed)
    number = int(random.integers(1, 2001))
    boxes, scores = np.zeros((2000, 4), np.float32), np.zeros(2000, np.float32)
    boxes[:number], scores[:number] = clusters(random, number), scores_of(random, number)
    keep = expected(boxes[:number], scores[:number], 0.7)
    for method in METHODS:
      ours = kept(boxes, scores, np.arange(2000) < number, 0.7, TORCHVISION, method)
      np.testing.assert_array_equal(ours[:number], keep)
      assert not ours[number:].any()


@pytest.mark.parametrize('method', METHODS)
def test_equal_scores_rank_by_index(method):
  boxes = clusters(np.random.default_rng(3), 64)
  scores = np.full(64, 0.5, np.float32)
  np.testing.assert_array_equal(
    kept(boxes, scores, np.ones(64, bool), method=method), expected(boxes, scores))
  same = np.tile(np.float32([[10, 10, 20, 20]]), (64, 1))
  ours = kept(same, scores, np.ones(64, bool), method=method)
  assert np.flatnonzero(ours).tolist() == [0]


@pytest.mark.parametrize('method', METHODS)
def test_invalid_boxes_neither_stay_nor_drop_others(method):
  random = np.random.default_rng(4)
  boxes, scores = clusters(random, 64), scores_of(random, 64)
  valid = random.uniform(size=64) < 0.5
  keep = np.zeros(64, bool)
  keep[np.flatnonzero(valid)] = expected(boxes[valid], scores[valid])
  np.testing.assert_array_equal(kept(boxes, scores, valid, method=method), keep)
  assert not kept(boxes, scores, np.zeros(64, bool), method=method).any()


@pytest.mark.parametrize('method', METHODS)
def test_a_box_at_the_threshold_stays(method):
  """IoU 100 / 200 with the first; 110 / 190 is above. A box at the origin without area stays."""
  boxes = np.float32([[0, 0, 10, 15], [0, 5, 10, 20], [0, 4, 10, 19], [0, 0, 0, 0]])
  scores = np.float32([0.9, 0.8, 0.7, 0.6])
  ours = kept(boxes, scores, np.ones(4, bool), method=method)
  np.testing.assert_array_equal(ours, [True, True, False, True])
  np.testing.assert_array_equal(ours, expected(boxes, scores))


def test_chain():
  """Each box drops the next one only: every other box stays, which takes the matrix many rounds."""
  number = 40
  left = np.arange(number, dtype=np.float32) * 4
  boxes = np.stack([left, 0 * left, left + 10, 0 * left + 10], axis=1)
  scores = np.linspace(1, 0, number, dtype=np.float32)
  for method in METHODS:
    ours = kept(boxes, scores, np.ones(number, bool), 0.3, method=method)
    np.testing.assert_array_equal(ours, np.arange(number) % 2 == 0)


def test_torchvision_agrees_with_the_reference():
  ops = pytest.importorskip('torchvision.ops')
  torchvision_detection.use_pure_operators()
  random = np.random.default_rng(5)
  boxes, scores = clusters(random, 200), scores_of(random, 200)
  rows = ops.nms(torch.tensor(boxes), torch.tensor(scores), 0.5)
  np.testing.assert_array_equal(rows, torchvision_detection.nms(boxes, scores, 0.5))


def test_batch_and_gradient():
  """NMS is in a training step: it has no gradient, and takes a batch and levels."""
  random = np.random.default_rng(6)
  boxes = np.stack([clusters(random, 32) for _ in range(3)])
  scores = np.stack([scores_of(random, 32) for _ in range(3)])

  def total(boxes, scores):
    keep = jax.vmap(lambda b, s: nms(b, s, jnp.ones(32, bool), 0.5, TORCHVISION))(boxes, scores)
    return jnp.sum(jnp.where(keep, scores, 0.0)), keep

  (_, keep), gradient = jax.jit(jax.value_and_grad(total, has_aux=True, argnums=1))(boxes, scores)
  for image in range(3):
    np.testing.assert_array_equal(keep[image], expected(boxes[image], scores[image]))
  np.testing.assert_array_equal(gradient, keep.astype(np.float32))
