"""The sampler: numbers, order, and independence of devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ecanet_jax.detection.targets.matcher import IGNORED, NEGATIVE, POSITIVE
from ecanet_jax.detection.targets.sampler import image_keys, sample

KEY = jax.random.key(0)


def kinds(positives, negatives, ignored, seed=0):
  kind = np.repeat([POSITIVE, NEGATIVE, IGNORED], [positives, negatives, ignored])
  return np.random.default_rng(seed).permutation(kind)


@pytest.mark.parametrize(('counts', 'expected'), [
  ((30, 100, 20), (8, 24)),  # as asked for: 32, at most a quarter positive
  ((3, 100, 20), (3, 29)),  # few positives: negatives fill the rest
  ((30, 10, 20), (8, 10)),  # few negatives: rows stay empty
  ((0, 100, 20), (0, 32)),
  ((0, 0, 40), (0, 0)),
  ((4, 5, 3), (4, 5)),  # fewer boxes than samples
])
def test_numbers(counts, expected):
  kind = kinds(*counts)
  index, valid, positive = map(np.asarray, sample(KEY, jnp.asarray(kind), 32, 0.25))
  assert len(index) == min(32, len(kind))
  assert (positive.sum(), (valid & ~positive).sum()) == expected
  assert positive.tolist() == sorted(positive, reverse=True)
  assert valid.tolist() == sorted(valid, reverse=True)
  assert set(kind[index[positive]]) <= {POSITIVE}
  assert set(kind[index[valid & ~positive]]) <= {NEGATIVE}
  assert len(set(index[valid])) == valid.sum()


def test_every_box_is_as_likely():
  kind = jnp.asarray(kinds(40, 60, 0))
  draw = jax.vmap(lambda key: sample(key, kind, 20, 0.5))
  samples = jax.jit(draw)(jax.random.split(KEY, 2000))
  counts = np.bincount(np.asarray(samples.index).reshape(-1), minlength=100) / 2000
  np.testing.assert_allclose(counts[kind == POSITIVE], 10 / 40, atol=0.05)
  np.testing.assert_allclose(counts[kind == NEGATIVE], 10 / 60, atol=0.05)


def test_a_huge_number_takes_everything():
  kind = kinds(30, 50, 20)
  index, valid, positive = map(np.asarray, sample(KEY, jnp.asarray(kind), 10**6, 0.5))
  assert len(index) == 100 and positive.sum() == 30 and valid.sum() == 80
  assert set(index[valid]) == set(np.flatnonzero(kind != IGNORED))


def test_samples_do_not_depend_on_the_devices():
  batch = jnp.asarray(np.stack([kinds(20, 70, 10, seed) for seed in range(8)]))

  @functools.partial(jax.jit)
  def draw(batch):
    return jax.vmap(lambda key, kind: sample(key, kind, 32, 0.25))(
      image_keys(KEY, jnp.arange(8)), batch)

  mesh = Mesh(np.asarray(jax.devices()[:8]), 'data')
  spread = draw(jax.device_put(batch, NamedSharding(mesh, PartitionSpec('data'))))
  jax.tree.map(np.testing.assert_array_equal, draw(batch), spread)
  assert len({tuple(row) for row in np.asarray(spread.index).tolist()}) == 8
