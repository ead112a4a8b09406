"""RetinaNet's targets and losses: torchvision's, and mmdetection's by its formulas."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from ecanet_jax.detection.boxes.anchors import anchors_of, anchors_on_image, level_sizes
from ecanet_jax.detection.losses import retinanet_losses
from ecanet_jax.detection.presets import RETINANET_MMDET1, RETINANET_TORCHVISION
from ecanet_jax.detection.targets.dense import dense_targets
from ecanet_jax.detection.targets.matcher import IGNORED, NEGATIVE, POSITIVE
from tests.support.detection_boxes import random_boxes

IMAGE = (64, 96)
SHAPES = [(8, 12), (4, 6), (2, 3), (1, 2), (1, 1)]
ANCHORS = sum(level_sizes(SHAPES, RETINANET_TORCHVISION))
CLASSES, BOXES = 5, 6
RANDOM = np.random.default_rng(0)
# Three images, with 4 boxes, with 6 and with none; empty rows hold zeros.
VALID = np.arange(BOXES)[None] < np.asarray([4, 6, 0])[:, None]
TRUTH = np.stack([random_boxes(RANDOM, BOXES, *IMAGE, least=10) for _ in range(3)])
TRUTH = np.where(VALID[..., None], TRUTH, 0).astype(np.float32)
LABELS = np.where(VALID, RANDOM.integers(0, CLASSES, VALID.shape), 0)
LOGITS = RANDOM.normal(0, 2, (3, ANCHORS, CLASSES)).astype(np.float32)
DELTAS = RANDOM.normal(0, 1, (3, ANCHORS, 4)).astype(np.float32)


@functools.cache
def targets_of(preset):
  anchors = anchors_of(SHAPES, IMAGE, preset)
  size = jnp.asarray(IMAGE)
  one = lambda *truth: dense_targets(
    anchors, anchors_on_image(SHAPES, size, preset), *truth, size, preset)
  return anchors, jax.jit(jax.vmap(one))(TRUTH, LABELS, VALID)


def losses_of(targets, preset):
  """Both losses, and the gradients of their sum."""

  def total(*said):
    losses = retinanet_losses(*said, targets, preset)
    return sum(losses), losses

  (_, losses), gradients = jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))(LOGITS, DELTAS)
  return losses, gradients


def test_anchors_equal_torchvision():
  """Their sides are whole before the ratios: 40 and not 40.3 pixels."""
  detection = pytest.importorskip('torchvision.models.detection')
  shapes = [(100, 168), (50, 84), (25, 42), (13, 21), (7, 11)]
  images = detection.image_list.ImageList(torch.zeros(1, 3, 800, 1344), [(800, 1344)])
  (theirs,) = detection.retinanet._default_anchorgen()(
    images, [torch.zeros(1, 1, *shape) for shape in shapes])
  np.testing.assert_array_equal(anchors_of(shapes, (800, 1344), RETINANET_TORCHVISION), theirs)


def test_losses_equal_torchvision():
  detection = pytest.importorskip('torchvision.models.detection')
  anchors, targets = targets_of(RETINANET_TORCHVISION)
  anchors = [torch.tensor(np.array(anchors))] * 3
  matcher = detection._utils.Matcher(0.5, 0.4, allow_low_quality_matches=True)
  head = detection.retinanet.RetinaNetHead(8, 9, CLASSES)
  truth = [{'boxes': torch.tensor(TRUTH[i][VALID[i]]), 'labels': torch.tensor(LABELS[i][VALID[i]])}
           for i in range(3)]
  none = torch.full((ANCHORS,), -1)
  iou = detection.retinanet.box_ops.box_iou
  matched = [matcher(iou(x['boxes'], anchors[0])) if len(x['boxes']) else none for x in truth]
  kinds = np.stack([np.select([x >= 0, x == -1], [POSITIVE, NEGATIVE], IGNORED) for x in matched])
  np.testing.assert_array_equal(targets.kind, kinds)
  assert {POSITIVE, NEGATIVE, IGNORED} == set(kinds.ravel())
  said = [torch.tensor(x, requires_grad=True) for x in (LOGITS, DELTAS)]
  theirs = head.compute_loss(
    truth, {'cls_logits': said[0], 'bbox_regression': said[1]}, anchors, matched)
  sum(theirs.values()).backward()
  losses, gradients = losses_of(targets, RETINANET_TORCHVISION)
  np.testing.assert_allclose(losses, [x.item() for x in theirs.values()], rtol=1e-5)
  for ours, tensor in zip(gradients, said, strict=True):
    np.testing.assert_allclose(ours, tensor.grad, atol=1e-6)


def test_mmdet1_losses_by_their_formulas():
  """focal_loss.py, smooth_l1_loss.py with beta 0.11, and the divisor of anchor_head.py of rc0."""
  _, targets = targets_of(RETINANET_MMDET1)
  targets = jax.tree.map(np.asarray, targets)
  positive = targets.kind == POSITIVE
  divisor = sum(max(count, 1) for count in positive.sum(1))
  assert positive.sum(1)[2] == 0 and divisor == positive.sum() + 1
  p = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
  hit = positive[..., None] & (targets.labels[..., None] == np.arange(CLASSES))
  focal = np.where(hit, -0.25 * (1 - p) ** 2 * np.log(p), -0.75 * p**2 * np.log1p(-p))
  d = np.abs(DELTAS - targets.deltas)[positive]
  box = np.where(d < 0.11, 0.5 * d * d / 0.11, d - 0.5 * 0.11)
  losses, _ = losses_of(targets, RETINANET_MMDET1)
  np.testing.assert_allclose(
    losses, [focal[targets.kind != IGNORED].sum() / divisor, box.sum() / divisor], rtol=1e-5)


def test_padding_of_an_image_is_ignored():
  preset, size = RETINANET_TORCHVISION, jnp.asarray([32, 40])
  on_image = anchors_on_image(SHAPES, size, preset)
  targets = dense_targets(anchors_of(SHAPES, IMAGE, preset), on_image, jnp.asarray(TRUTH[0]),
                          jnp.asarray(LABELS[0]), jnp.zeros(BOXES, bool), size, preset)
  np.testing.assert_array_equal(targets.kind, np.where(on_image, NEGATIVE, IGNORED))
  assert 0 < np.mean(on_image) < 1
