"""Anchors: torchvision's exactly, mmdetection's by its formula, and which of them count."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from ecanet_jax.detection.boxes.anchors import (
  anchors_of,
  anchors_on_image,
  level_sizes,
  trainable_anchors,
)
from ecanet_jax.detection.presets import MMDET1, TORCHVISION

BUCKET = [(200, 336), (100, 168), (50, 84), (25, 42), (13, 21)]  # of 800 x 1344


@pytest.mark.parametrize(('image', 'scale', 'shapes'), [
  ((800, 1344), 8.0, BUCKET),
  ((128, 96), 4.0, [(32, 24), (16, 12), (8, 6), (4, 3), (2, 2)]),
])
def test_equal_to_torchvision(image, scale, shapes):
  detection = pytest.importorskip('torchvision.models.detection')
  preset = dataclasses.replace(TORCHVISION, anchor_scales=(scale,))
  generator = detection.anchor_utils.AnchorGenerator(
    tuple((int(stride * scale),) for stride in preset.strides), ((0.5, 1.0, 2.0),) * 5)
  images = detection.image_list.ImageList(torch.zeros(1, 3, *image), [image])
  (theirs,) = generator(images, [torch.zeros(1, 1, *shape) for shape in shapes])
  ours = anchors_of(shapes, image, preset)
  assert ours.shape[0] == sum(level_sizes(shapes, preset))
  np.testing.assert_array_equal(ours, theirs)


def test_step_of_the_coarsest_level_comes_from_its_rows():
  """800 // 13 = 61 pixels down and 1344 // 21 = 64 to the right; mmdetection has 64 both ways."""
  first = sum(level_sizes(BUCKET[:-1], TORCHVISION))
  below, right = first + 21 * 3, first + 3
  for preset, step in ((TORCHVISION, 61), (MMDET1, 64)):
    anchors = np.asarray(anchors_of(BUCKET, (800, 1344), preset))
    np.testing.assert_array_equal(anchors[below] - anchors[first], [0, step, 0, step])
    np.testing.assert_array_equal(anchors[right] - anchors[first], [64, 0, 64, 0])


def test_mmdet1_base_anchors():
  """Known values of rc0's AnchorGenerator(4, [8], [0.5, 1, 2]) and of base size 16."""
  anchors = np.asarray(anchors_of(BUCKET, (800, 1344), MMDET1))
  np.testing.assert_array_equal(
    anchors[:3], [[-21, -9, 24, 12], [-14, -14, 17, 17], [-9, -21, 12, 24]])
  third = sum(level_sizes(BUCKET[:2], MMDET1))
  np.testing.assert_array_equal(
    anchors[third : third + 3], [[-83, -37, 98, 52], [-56, -56, 71, 71], [-37, -83, 52, 98]])
  np.testing.assert_array_equal(anchors[3:6] - anchors[:3], [[4, 0, 4, 0]] * 3)


def test_several_scales_of_retinanet():
  """All scales of a ratio are together, in both code bases."""
  preset = dataclasses.replace(
    TORCHVISION, strides=(8,), anchor_scales=(4.0, 8.0), anchor_ratios=(1.0, 4.0))
  np.testing.assert_array_equal(
    anchors_of([(1, 1)], (8, 8), preset),
    [[-16, -16, 16, 16], [-32, -32, 32, 32], [-8, -32, 8, 32], [-16, -64, 16, 64]])


def test_anchors_of_the_padding_are_not_the_images():
  shapes = [(32, 24), (16, 12), (8, 6), (4, 3), (2, 2)]
  on_image = np.asarray(anchors_on_image(shapes, jnp.asarray([70, 33]), TORCHVISION))
  counts = [rows.sum() for rows in np.split(on_image, np.cumsum(level_sizes(shapes, MMDET1))[:-1])]
  # 70 x 33 pixels are padded to 96 x 64.
  assert counts == [24 * 16 * 3, 12 * 8 * 3, 6 * 4 * 3, 3 * 2 * 3, 2 * 1 * 3]
  assert np.all(anchors_on_image(shapes, jnp.asarray([128, 96]), TORCHVISION))


def test_border_anchors_take_part_with_torchvision_only():
  anchors = jnp.asarray(
    [[0, 0, 9, 9], [-1, 0, 9, 9], [0, 0, 10, 9], [0, 0, 9, 19], [0, 0, 9, 20.0]])
  size = jnp.asarray([20, 10])
  assert trainable_anchors(anchors, size, TORCHVISION).tolist() == [True] * 5
  assert trainable_anchors(anchors, size, MMDET1).tolist() == [True, False, False, True, False]
