"""Deletion and insertion curves of known answers, and the correlation of two maps."""

import numpy as np
import pytest
from PIL import Image

from ecanet_jax.analysis.cam.deletion import blurred, curves
from ecanet_jax.analysis.cam.explain import rank_correlation


def test_known_answers():
  values = np.arange(16.0).reshape(4, 4)
  image, without = np.ones((32, 32, 3)), np.zeros((32, 32, 3))
  found = curves(values, image, without, lambda images: images.mean((1, 2, 3)), steps=16)
  np.testing.assert_allclose(found.share, np.arange(17) / 16)
  np.testing.assert_allclose(found.deletion, 1 - np.arange(17) / 16)
  np.testing.assert_allclose(found.insertion, np.arange(17) / 16)
  assert found.areas() == pytest.approx((0.5, 0.5))
  # The class is in the cell of the largest value, which is the last one.
  found = curves(values, image, without, lambda images: images[:, 24:, 24:].mean((1, 2, 3)))
  assert found.deletion[0] == 1 and not found.deletion[1:].any()
  assert found.insertion[0] == 0 and found.insertion[1:].all()
  assert found.share[-1] == 1 and len(found.share) == 17


def test_blurring_removes_details():
  pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
  soft = np.asarray(blurred(Image.fromarray(pixels)), float)
  assert soft.std() < 0.3 * pixels.std() and soft.mean() == pytest.approx(pixels.mean(), abs=2)


def test_rank_correlation():
  values = np.random.default_rng(0).normal(size=(5, 5))
  assert rank_correlation(values, np.exp(values)) == pytest.approx(1)
  assert rank_correlation(values, -values) == pytest.approx(-1)
  assert np.isnan(rank_correlation(values, np.ones((5, 5))))
