"""The box coder, clipping and sides: torchvision's, and mmdetection's by its formula."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from ecanet_jax.detection.boxes.coder import decode, encode
from ecanet_jax.detection.boxes.geometry import at_least, clip
from ecanet_jax.detection.presets import MMDET1, TORCHVISION
from tests.support.detection_boxes import random_boxes

RANDOM = np.random.default_rng(1)
ANCHORS, BOXES = (random_boxes(RANDOM, 200, 800, 1344) for _ in range(2))
DELTAS = RANDOM.normal(0, 1.5, (200, 4)).astype(np.float32)
DELTAS[:4] = [[0, 0, 9, 9], [0, 0, -9, -9], [3, -3, 5, -5], [0, 0, 0, 0]]  # beyond the clamp, none


@pytest.mark.parametrize('weights', [(1.0, 1.0, 1.0, 1.0), TORCHVISION.box_weights])
def test_equal_to_torchvision(weights):
  coder = pytest.importorskip('torchvision.models.detection')._utils.BoxCoder(weights)
  theirs = coder.encode_single(torch.tensor(BOXES), torch.tensor(ANCHORS)).numpy()
  np.testing.assert_allclose(
    encode(BOXES, ANCHORS, TORCHVISION, weights), theirs, rtol=1e-5, atol=1e-5)
  theirs = coder.decode_single(torch.tensor(DELTAS), torch.tensor(ANCHORS)).numpy()
  np.testing.assert_allclose(
    decode(DELTAS, ANCHORS, TORCHVISION, weights), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('preset', [TORCHVISION, MMDET1])
def test_round_trip(preset):
  deltas = encode(BOXES, ANCHORS, preset, preset.box_weights)
  kept = np.all(np.abs(np.asarray(deltas[:, 2:])) < 5 * 4.1, axis=1)
  boxes = np.asarray(decode(deltas, ANCHORS, preset, preset.box_weights))
  assert kept.sum() > 150
  np.testing.assert_allclose(boxes[kept], BOXES[kept], atol=2e-3, rtol=1e-5)


def test_mmdet1_by_its_formula():
  """bbox2delta and delta2bbox of rc0, core/bbox/transforms.py, in float64."""
  p, g, d = (x.astype(np.float64) for x in (ANCHORS, BOXES, DELTAS))
  pw, ph, gw, gh = (x[:, i + 2] - x[:, i] + 1 for x in (p, g) for i in (0, 1))
  centre = lambda x: ((x[:, 0] + x[:, 2]) / 2, (x[:, 1] + x[:, 3]) / 2)
  (px, py), (gx, gy) = centre(p), centre(g)
  stds = np.asarray([0.1, 0.1, 0.2, 0.2])
  deltas = np.stack([(gx - px) / pw, (gy - py) / ph, np.log(gw / pw), np.log(gh / ph)], 1) / stds
  np.testing.assert_allclose(
    encode(BOXES, ANCHORS, MMDET1, MMDET1.box_weights), deltas, rtol=1e-5, atol=1e-5)
  dx, dy, dw, dh = (d * stds).T
  ratio = abs(np.log(16 / 1000))
  gw, gh = pw * np.exp(np.clip(dw, -ratio, ratio)), ph * np.exp(np.clip(dh, -ratio, ratio))
  gx, gy = px + pw * dx, py + ph * dy
  boxes = np.stack([gx - gw / 2 + 0.5, gy - gh / 2 + 0.5, gx + gw / 2 - 0.5, gy + gh / 2 - 0.5], 1)
  np.testing.assert_allclose(
    decode(DELTAS, ANCHORS, MMDET1, MMDET1.box_weights), boxes, rtol=1e-5, atol=1e-4)


def test_known_boxes_of_mmdet1():
  """The example in the docstring of rc0's delta2bbox."""
  anchors = jnp.asarray([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1], [5.0, 5, 5, 5]])
  deltas = jnp.asarray([[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 2, -1], [0.7, -1.9, -0.5, 0.3]])
  boxes = clip(decode(deltas, anchors, MMDET1), jnp.asarray([32, 32]), MMDET1)
  np.testing.assert_allclose(boxes, [
    [0, 0, 1, 1], [0.2817, 0.2817, 4.7183, 4.7183], [0, 0.6321, 7.3891, 0.3679],
    [5.8967, 2.9251, 5.5033, 3.2749]], atol=1e-4)


def test_boxes_of_every_class():
  """Anchors broadcast over classes."""
  deltas = DELTAS[:100].reshape(50, 2, 4)
  boxes = decode(deltas, ANCHORS[:50, None], TORCHVISION)
  np.testing.assert_array_equal(boxes[:, 1], decode(deltas[:, 1], ANCHORS[:50], TORCHVISION))


def test_clip():
  boxes = jnp.asarray([[-3, -2, 50, 60], [5, 6, 7, 8], [41, 31, 45, 35.0]])
  size = jnp.asarray([30, 40])
  assert clip(boxes, size, TORCHVISION).tolist() == [[0, 0, 40, 30], [5, 6, 7, 8],
                                                     [40, 30, 40, 30]]
  assert clip(boxes, size, MMDET1).tolist() == [[0, 0, 39, 29], [5, 6, 7, 8], [39, 29, 39, 29]]


def test_small_boxes():
  boxes = jnp.asarray([[0, 0, 1, 1], [0, 0, 0.5, 9], [3, 3, 2, 5], [0, 0, 0, 0.0]])
  assert at_least(boxes, 1.0, TORCHVISION).tolist() == [True, False, False, False]
  assert at_least(boxes, 0.0, MMDET1).tolist() == [True] * 4
