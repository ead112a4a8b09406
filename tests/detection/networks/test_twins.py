"""Detectors beside torchvision's on the same weights: at test, in training, gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from ecanet_jax.detection.networks.ground_truth import GroundTruth
from ecanet_jax.detection.presets import TORCHVISION, get_preset
from ecanet_jax.weights import from_torch, to_torch
from tests.support import detector_twins as twins
from tests.support.detection_boxes import random_boxes

pytestmark = pytest.mark.slow

PRESET = dataclasses.replace(
  TORCHVISION, proposals=(twins.PROPOSALS,) * 2, proposals_before_nms=(twins.BEFORE_NMS,) * 2,
  rpn_samples=twins.EVERYTHING, roi_samples=twins.EVERYTHING)
QUICK = {'xla_backend_optimization_level': 0}
LOSSES = {
  'objectness': 'loss_objectness', 'rpn_box': 'loss_rpn_box_reg',
  'classification': 'loss_classifier', 'box': 'loss_box_reg', 'mask': 'loss_mask',
}


@pytest.fixture(scope='module')
def pair():
  """Our model, its variables, and the twin with the same weights."""
  model = twins.our_mask_rcnn(PRESET)
  variables = twins.calm_variables(model)
  return model, variables, twins.load(
    twins.their_mask_rcnn(), to_torch(model, variables, 'torchvision'))


@pytest.fixture(scope='module')
def detect():
  """Maps variables and images to the levels, the RPN's outputs, the detections and the masks."""
  model = twins.our_mask_rcnn(PRESET)

  def ours(module, x):
    levels = module.pyramid(x, False)
    return levels, module.rpn(levels), module(x)

  return jax.jit(lambda v, x: model.apply(v, x, method=ours), compiler_options=QUICK)


def images(height, width, batch):
  return np.random.default_rng(height).normal(size=(batch, height, width, 3)).astype(np.float32)


def relative(a, b):
  return np.abs(np.asarray(a) - b).max() / np.abs(b).max()


@pytest.mark.parametrize(('height', 'width', 'weights'), [
  (96, 128, 'random'), (128, 96, 'random'), (96, 128, 'initial'), (128, 96, 'initial'),
  (384, 256, 'random'), (256, 384, 'random'),
])
def test_detections(pair, detect, height, width, weights):
  model, variables, twin = pair
  if weights == 'initial':
    torch.manual_seed(0)
    twin = twins.their_mask_rcnn()
    variables = from_torch(model, twins.state_of(twin), 'torchvision')
  x = images(height, width, 4)
  with torch.no_grad():
    features, (logits, deltas), theirs, _ = twins.forward(twin.eval(), x)
  levels, (our_logits, our_deltas), (found, masks) = detect(variables, x)
  for level, feature in zip(levels, features.values(), strict=True):
    assert relative(level, feature.numpy().transpose(0, 2, 3, 1)) < 1e-4
  assert relative(our_logits, twins.rows(logits, 1)[..., 0]) < 1e-4
  assert relative(our_deltas, twins.rows(deltas, 4)) < 1e-4
  for number, image in enumerate(theirs):
    rows = twins.same_rows(found, number, image)
    assert weights == 'initial' or np.all(np.diff(rows) > 0)
    scores = np.abs(found.scores[number][rows] - image['scores'].numpy()).max()
    pasted = np.abs(masks[number][rows] - image['masks'].numpy()[:, 0]).max()
    print(f'{len(rows)} boxes, scores {scores:.1e}, masks {pasted:.1e}')
    assert scores < 1e-4 and pasted < 1e-3


def test_losses_and_gradients(pair):
  model, variables, twin = pair
  height, width, batch, most = 96, 128, 2, 5
  random = np.random.default_rng(7)
  x = images(height, width, batch)
  boxes = np.stack([random_boxes(random, most, height, width, least=8) for _ in range(batch)])
  labels = random.integers(0, twins.CLASSES, (batch, most))
  masks = (random.uniform(size=(batch, most, height, width)) > 0.5) * np.uint8(255)
  counts = (3, 5)
  valid = np.arange(most)[None] < np.asarray(counts)[:, None]
  targets = [
    {'boxes': torch.from_numpy(boxes[i, :n]), 'labels': torch.from_numpy(labels[i, :n] + 1),
     'masks': torch.from_numpy(masks[i, :n] // 255)} for i, n in enumerate(counts)]
  twin.train()
  *_, theirs = twins.forward(twin, x, targets)
  sum(theirs.values()).backward()

  truth = GroundTruth(*map(jnp.asarray, (boxes, labels, valid, masks)))
  keys = jax.random.split(jax.random.key(0), batch)

  def total(params):
    losses = model.apply({**variables, 'params': params}, x, None, truth, keys,
                         method=model.losses)
    return sum(losses.values()), losses

  step = jax.jit(jax.value_and_grad(total, has_aux=True), compiler_options=QUICK)
  (_, losses), gradient = step(variables['params'])
  for ours, name in LOSSES.items():
    print(f'{ours}: {float(losses[ours]):.6f} {theirs[name].item():.6f}')
    assert abs(float(losses[ours]) - theirs[name].item()) < 1e-4 * theirs[name].item()

  check_gradients(model, gradient, from_torch(
    model, twins.state_of(twin, gradients=True), 'torchvision')['params'])


def check_gradients(model, gradient, theirs):
  """Asserts equal gradients of all parameters that train."""
  got, worst = dict(jax.tree.leaves_with_path(gradient)), {}
  for path, value in jax.tree.leaves_with_path(theirs):
    names = tuple(key.key for key in path)
    if not model.is_frozen(names):
      worst[names] = relative(got[path], value)
  largest = max(worst, key=worst.get)
  print(f'{len(worst)} gradients, the largest difference {worst[largest]:.1e} in {largest}')
  assert worst[largest] < 1e-3


def test_retinanet():
  """Detections of 4 images, and losses and gradients of 2, one of them without objects."""
  model = twins.our_retinanet('torchvision')
  variables, twin = twins.calm_variables(model), twins.their_retinanet()
  twins.load(twin, to_torch(model, variables, 'torchvision'))
  x = images(128, 96, 4)
  with torch.no_grad():
    theirs = twins.forward_retinanet(twin, x)
  found, _ = jax.jit(lambda v, x: model.apply(v, x), compiler_options=QUICK)(variables, x)
  for number, image in enumerate(theirs):
    rows = twins.same_rows(found, number, image, first_label=0)
    assert np.abs(found.scores[number][rows] - image['scores'].numpy()).max() < 1e-4

  random = np.random.default_rng(7)
  boxes = np.stack([random_boxes(random, 5, 128, 96, least=8) for _ in range(2)])
  labels = random.integers(0, twins.CLASSES, (2, 5))
  valid = np.asarray([[True] * 5, [False] * 5])
  targets = [{'boxes': torch.from_numpy(boxes[i][valid[i]]),
              'labels': torch.from_numpy(labels[i][valid[i]])} for i in range(2)]
  theirs = twins.forward_retinanet(twin, x[:2], targets)
  sum(theirs.values()).backward()
  truth = GroundTruth(*map(jnp.asarray, (boxes, labels, valid)))

  def total(params):
    losses = model.apply({**variables, 'params': params}, x[:2], None, truth, None,
                         method=model.losses)
    return sum(losses.values()), losses

  step = jax.jit(jax.value_and_grad(total, has_aux=True), compiler_options=QUICK)
  (_, losses), gradient = step(variables['params'])
  for ours, name in (('classification', 'classification'), ('box', 'bbox_regression')):
    print(f'{ours}: {float(losses[ours]):.6f} {theirs[name].item():.6f}')
    np.testing.assert_allclose(losses[ours], theirs[name].item(), rtol=1e-4)
  check_gradients(model, gradient, from_torch(
    model, twins.state_of(twin, gradients=True), 'torchvision')['params'])


@pytest.mark.parametrize('preset', ['torchvision', 'mmdet1'])
def test_padding_and_images_without_objects(preset):
  """Losses and gradients are finite, masks as crops; what is not on an image changes nothing."""
  preset = dataclasses.replace(
    get_preset(preset), proposals=(20, 20), proposals_before_nms=(40, 40), rpn_samples=32,
    roi_samples=16)
  model = twins.our_mask_rcnn(preset)
  variables, x = twins.calm_variables(model), images(64, 96, 2)
  sizes = jnp.asarray([[64, 96], [50, 60]])
  boxes = np.tile(np.float32([[5, 6, 40, 45], [20, 8, 55, 30]]), (2, 1, 1))
  crops = np.full((2, 2, 28, 28), 255, np.uint8)
  keys = jax.random.split(jax.random.key(1), 2)

  def total(params, boxes, labels, valid):
    truth = GroundTruth(boxes, labels, valid, crops, boxes)
    losses = model.apply({**variables, 'params': params}, x, sizes, truth, keys,
                         method=model.losses)
    return sum(losses.values()), losses

  step = jax.jit(jax.value_and_grad(total, has_aux=True), compiler_options=QUICK)
  labels = jnp.ones((2, 2), int)
  first, second = (
    step(variables['params'], jnp.asarray(boxes).at[1].add(shift), labels,
         jnp.asarray([[True, True], [False, False]])) for shift in (0.0, 3.0))
  jax.tree.map(np.testing.assert_array_equal, first, second)
  (_, losses), gradient = first
  assert all(np.isfinite(value) and value > 0 for value in losses.values())
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
  assert np.any(gradient['backbone']['stem']['kernel'])
  (_, none), gradient = step(variables['params'], jnp.asarray(boxes), labels,
                             jnp.zeros((2, 2), bool))
  assert [float(none[name]) for name in ('rpn_box', 'box', 'mask')] == [0, 0, 0]
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
