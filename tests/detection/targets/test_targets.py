"""Targets of the proposals, of the box head, and what a batch of them gives in the losses.

Against torchvision with everything sampled, so that its random numbers do not matter.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ecanet_jax.detection import losses
from ecanet_jax.detection.boxes.anchors import anchors_of, anchors_on_image, level_sizes
from ecanet_jax.detection.boxes.coder import encode
from ecanet_jax.detection.presets import MMDET1, TORCHVISION
from ecanet_jax.detection.targets.anchors import anchor_targets
from ecanet_jax.detection.targets.rois import roi_targets
from ecanet_jax.detection.targets.sampler import image_keys
from tests.support.detection_boxes import random_boxes

IMAGE = (64, 96)
SHAPES = [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
CLASSES, BOXES, PROPOSALS = 5, 6, 40
EVERYTHING = 10**6
RANDOM = np.random.default_rng(0)
# Two images, with 4 boxes and with none; empty rows hold zeros.
TRUTH = np.stack([random_boxes(RANDOM, BOXES, *IMAGE, least=10) for _ in range(2)])
VALID = np.asarray([[True] * 4 + [False] * 2, [False] * BOXES])
TRUTH = np.where(VALID[..., None], TRUTH, 0).astype(np.float32)
LABELS = RANDOM.integers(0, CLASSES - 1, (2, BOXES))  # CLASSES outputs, with the background
DRAWN = np.stack([random_boxes(RANDOM, PROPOSALS, *IMAGE, least=8) for _ in range(2)])
DRAWN[0, :8] = np.repeat(TRUTH[0, :4], 2, axis=0) + RANDOM.normal(0, 2, (8, 4))
KEYS = image_keys(jax.random.key(0), jnp.arange(2))
SIZES = jnp.asarray([IMAGE, IMAGE], jnp.float32)


def preset(rules, **numbers):
  return dataclasses.replace(rules, anchor_scales=(4.0,), **numbers)


@functools.partial(jax.jit, static_argnames='rules')
def of_anchors(rules):
  anchors = anchors_of(SHAPES, IMAGE, rules)
  one = lambda key, boxes, valid, size: anchor_targets(
    key, anchors, anchors_on_image(SHAPES, size, rules), boxes, valid, size, rules)
  return jax.vmap(one)(KEYS, TRUTH, VALID, SIZES)


@functools.partial(jax.jit, static_argnames=('rules', 'number'))
def of_rois(rules, proposals=DRAWN, number=PROPOSALS - 5):
  one = lambda key, proposals, boxes, labels, valid: roi_targets(
    key, proposals, jnp.arange(PROPOSALS) < number, boxes, labels, valid, rules)
  return jax.vmap(one)(KEYS, proposals, TRUTH, LABELS, VALID)


@functools.cache
def heads(seed=1):
  """What the two heads might say: logits and offsets of anchors and of RoIs."""
  random = np.random.default_rng(seed)
  draw = lambda *shape: random.normal(size=shape).astype(np.float32)
  anchors, rois = sum(level_sizes(SHAPES, TORCHVISION)), PROPOSALS + BOXES
  return draw(2, anchors), draw(2, anchors, 4), draw(2, rois, CLASSES), draw(2, rois, CLASSES, 4)


def torchvision_targets():
  return [{'boxes': torch.tensor(TRUTH[i][VALID[i]]),
           'labels': torch.tensor(LABELS[i][VALID[i]] + 1)} for i in range(2)]


def test_losses_of_the_proposals_equal_torchvision():
  detection = pytest.importorskip('torchvision.models.detection')
  rules = preset(TORCHVISION, rpn_samples=EVERYTHING)
  logits, deltas, _, _ = heads()
  rpn = detection.rpn.RegionProposalNetwork(
    None, None, 0.7, 0.3, EVERYTHING, 0.5, {'training': 1}, {'training': 1}, 0.7)
  anchors = [torch.tensor(np.array(anchors_of(SHAPES, IMAGE, rules)))] * 2
  labels, boxes = rpn.assign_targets_to_anchors(anchors, torchvision_targets())
  heard = [torch.tensor(x, requires_grad=True) for x in (logits, deltas)]
  theirs = rpn.compute_loss(heard[0].reshape(-1, 1), heard[1].reshape(-1, 4), labels,
                            rpn.box_coder.encode(boxes, anchors))
  targets = of_anchors(rules)
  assert targets.samples.positive.sum(1).tolist() == [int((x == 1).sum()) for x in labels]
  loss = lambda *said: losses.rpn_losses(*said, targets, rules)
  compare(loss, (logits, deltas), theirs, heard)


def test_losses_of_the_box_head_equal_torchvision():
  """RoIs are in another order here than there; what the head says about one goes with it."""
  detection = pytest.importorskip('torchvision.models.detection')
  rules = preset(TORCHVISION, roi_samples=EVERYTHING)
  _, _, logits, deltas = heads()
  roi_heads = detection.roi_heads.RoIHeads(
    None, None, None, 0.5, 0.5, EVERYTHING, 0.25, None, 0.05, 0.5, 100)
  truth = torchvision_targets()
  proposals, _, labels, offsets = roi_heads.select_training_samples(
    [torch.tensor(x[: PROPOSALS - 5]) for x in DRAWN], truth)
  targets = of_rois(rules)
  rows = []  # where each of our RoIs is among theirs
  for image in range(2):
    count = int(targets.valid[image].sum())
    ours = np.asarray(targets.boxes[image][:count])
    theirs = proposals[image].numpy()
    assert count == len(theirs) == PROPOSALS - 5 + VALID[image].sum()
    order = np.lexsort(ours.T)[np.argsort(np.lexsort(theirs.T))]
    np.testing.assert_array_equal(ours[order], theirs)
    np.testing.assert_array_equal(np.asarray(targets.labels[image])[order], labels[image])
    rows.append(order)
  heard = [torch.tensor(x, requires_grad=True) for x in (logits, deltas)]
  said = [torch.cat([x[i][torch.tensor(rows[i])] for i in range(2)]) for x in heard]
  theirs = detection.roi_heads.fastrcnn_loss(said[0], said[1].flatten(1), labels, offsets)
  loss = lambda *said: losses.box_head_losses(*said, targets, rules)
  compare(loss, (logits, deltas), theirs, heard)


def compare(loss, arrays, theirs, heard):
  """The losses, and the gradients of their sum."""
  sum(theirs).backward()
  both = jax.value_and_grad(lambda *said: (sum(loss(*said)), loss(*said)), (0, 1), has_aux=True)
  (_, ours), gradients = jax.jit(both)(*arrays)
  np.testing.assert_allclose(ours, [x.item() for x in theirs], rtol=1e-5)
  for ours, tensor in zip(gradients, heard, strict=True):
    np.testing.assert_allclose(ours, tensor.grad.numpy(), atol=1e-6)


def test_mask_loss_equals_torchvision():
  logits = RANDOM.normal(size=(2, 3, 8, 8, CLASSES)).astype(np.float32)
  masks = RANDOM.uniform(size=(2, 3, 8, 8)).astype(np.float32)
  labels = jnp.asarray([[1, 4, 2], [3, 0, 0]])
  positive = jnp.asarray([[True, True, True], [True, False, False]])
  own = [logits[i, j, ..., int(labels[i, j])] for i, j in zip(*np.nonzero(positive), strict=True)]
  theirs = F.binary_cross_entropy_with_logits(
    torch.tensor(np.stack(own)), torch.tensor(masks[np.asarray(positive)]))
  loss = jax.jit(jax.value_and_grad(
    lambda logits, positive: losses.mask_loss(logits, masks, labels, positive)))
  np.testing.assert_allclose(loss(logits, positive)[0], float(theirs), rtol=1e-5)
  none, gradient = loss(logits, jnp.zeros_like(positive))
  assert float(none) == 0 and not np.any(gradient)


def test_mmdet1_losses_by_their_formulas():
  """anchor_head.py, bbox_head.py, smooth_l1_loss.py of rc0: divisors and beta."""
  rules = preset(MMDET1, rpn_samples=32, roi_samples=16)
  logits, deltas, classes, offsets = heads()
  targets, rois = of_anchors(rules), of_rois(rules)
  index, valid, positive = map(np.asarray, targets.samples)
  pairs = [(valid.sum(1) - positive.sum(1))[i] for i in range(2)]
  divisor = sum(max(p, 1) + max(n, 1) for p, n in zip(positive.sum(1), pairs, strict=True))
  assert positive.sum(1)[1] == 0 and divisor == valid.sum() + 1
  entropy = box = 0.0
  for i, j in zip(*np.nonzero(valid), strict=True):
    sign = 1 if positive[i, j] else -1
    entropy += np.log1p(np.exp(-sign * logits[i, index[i, j]]))
    if positive[i, j]:
      d = np.abs(deltas[i, index[i, j]] - np.asarray(targets.deltas)[i, j])
      box += np.where(d < 1 / 9, 0.5 * d * d * 9, d - 0.5 / 9).sum()
  ours = jax.jit(losses.rpn_losses, static_argnums=3)(logits, deltas, targets, rules)
  np.testing.assert_allclose(ours, [entropy / divisor, box / divisor], rtol=1e-5)
  assert int(rois.valid.sum()) == 32
  entropy = box = 0.0
  for i, j in np.ndindex(2, 16):
    label = int(rois.labels[i, j])
    entropy += np.log(np.exp(classes[i, j]).sum()) - classes[i, j, label]
    if label:
      d = np.abs(offsets[i, j, label] - np.asarray(rois.deltas)[i, j])
      box += np.where(d < 1, 0.5 * d * d, d - 0.5).sum()
  ours = jax.jit(losses.box_head_losses, static_argnums=3)(
    classes[:, :16], offsets[:, :16], rois, rules)
  np.testing.assert_allclose(ours, [entropy / 32, box / 32], rtol=1e-5)


@pytest.mark.parametrize('rules', [TORCHVISION, MMDET1])
def test_targets_say_what_they_were_made_from(rules):
  rules = preset(rules, roi_samples=16)
  targets = jax.tree.map(np.asarray, of_rois(rules))
  assert targets.positive.sum(1).tolist() == [4, 0]  # a quarter of 16; no ground truth
  assert targets.valid.all()
  assert not targets.labels[~targets.positive].any()
  box = targets.matched[0, :4]
  np.testing.assert_array_equal(targets.labels[0, :4], LABELS[0, box] + 1)
  assert VALID[0, box].all()
  deltas = encode(TRUTH[0, box], targets.boxes[0, :4], rules, rules.box_weights)
  np.testing.assert_allclose(targets.deltas[0, :4], deltas, atol=1e-5)


@pytest.mark.parametrize('rules', [TORCHVISION, MMDET1])
def test_ground_truth_is_among_the_rois(rules):
  """Even if no proposal is near it."""
  rules = preset(rules, roi_samples=EVERYTHING)
  targets = of_rois(rules, np.zeros_like(DRAWN))
  assert targets.positive.sum(1).tolist() == [4, 0]
  np.testing.assert_array_equal(np.sort(targets.matched[0, :4]), np.arange(4))
  np.testing.assert_allclose(targets.deltas[0, :4], 0, atol=1e-6)


def test_losses_without_any_sample_are_0():
  rules = preset(TORCHVISION, roi_samples=8)
  targets = jax.tree.map(lambda x: x[1:], of_rois(rules, number=0))  # nor a box
  said = np.ones((1, 8, CLASSES), np.float32), np.ones((1, 8, CLASSES, 4), np.float32)
  assert not targets.valid.any()
  assert [float(x) for x in losses.box_head_losses(*said, targets, rules)] == [0, 0]
