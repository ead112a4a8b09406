"""The order of the images: every image once per epoch, stateless, frozen."""

import numpy as np

from ecanet_jax.data import shuffling


def test_an_epoch_has_every_image_once():
  keys, indices = shuffling.positions(11, seed=3, start=0, count=33)
  for epoch in range(3):
    assert sorted(indices[11 * epoch : 11 * epoch + 11]) == list(range(11))
  assert len(set(keys)) == 3
  np.testing.assert_array_equal(shuffling.positions(11, 3, 9, 5)[1], indices[9:14])
  assert not np.array_equal(shuffling.permutation(1000, 0, 0), shuffling.permutation(1000, 1, 0))
  # Frozen: an order that changes would break the resumption of every run.
  assert shuffling.permutation(8, 0, 0).tolist() == [1, 4, 2, 3, 0, 6, 7, 5]
  assert shuffling.epoch_key(0, 0) == 7896617691693857887


def test_uniform_is_uniform_and_stateless():
  keys = np.full(5000, shuffling.epoch_key(0, 0))
  draws = shuffling.uniform(keys, np.arange(5000), 3)
  assert draws.min() >= 0 and draws.max() < 1
  np.testing.assert_allclose(draws.mean(0), 0.5, atol=0.02)
  assert np.abs(np.corrcoef(draws.T) - np.eye(3)).max() < 0.05
  np.testing.assert_array_equal(draws[7:9], shuffling.uniform(keys[7:9], np.arange(7, 9), 3))
