"""The comparison of logits, and programs that take one number of images."""

import numpy as np
import pytest

from ecanet_jax.export.check import NOISE, Difference, noise, run


def test_a_difference():
  ours = np.array([[1.0, 4.0, 0.0], [0.0, 3.0, 2.0]])
  found = Difference.of(ours + np.array([[0, 0.4, 0], [0, 0, 1.2]]), ours)
  assert found.images == 2 and found.top1 == 1
  assert found.largest == pytest.approx(1.2 / 4)
  cosines = [(1 + 4 * 4.4) / (17 * (1 + 4.4**2)) ** 0.5, (9 + 6.4) / (13 * (9 + 3.2**2)) ** 0.5]
  assert found.cosine == pytest.approx(sum(cosines) / 2)
  assert found.to_json() == {
    'images': 2, 'largest_difference': 0.3, 'cosine': 0.98676, 'top1_equal': 1
  }


@pytest.mark.parametrize(('batch', 'calls'), [(3, [3, 3, 3]), (1, [1] * 7), (None, [7, 1])])
def test_images_of_a_fixed_batch(batch, calls):
  seen = []

  def program(images):
    seen.append(len(images))
    return images.sum((1, 2, 3))[:, None]

  images = noise((2, 2, 3))
  assert len(images) == NOISE and images.dtype == np.float32
  np.testing.assert_allclose(run(program, images, batch), images.sum((1, 2, 3))[:, None], 1e-6)
  assert seen == calls
