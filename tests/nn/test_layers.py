"""Layers: BatchNorm's statistics and groups, paddings, drop-path, initialisers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from ecanet_jax import create_model
from ecanet_jax.nn import initializers, layers, pooling
from ecanet_jax.runtime import sharding
from ecanet_jax.runtime.errors import UserError

RANDOM = np.random.RandomState(0)


def norm(x, preset='torch', groups=1, stats=None):
  module = layers.BatchNorm(layers.PRESET[preset], groups)
  channels = x.shape[-1]
  variables = {
    'params': {'scale': jnp.linspace(0.5, 1.5, channels), 'bias': jnp.linspace(-1, 1, channels)},
    'batch_stats': stats or {'mean': jnp.zeros(channels), 'var': jnp.ones(channels)},
  }
  y, changed = module.apply(variables, x, True, mutable=['batch_stats'])
  return np.asarray(y), jax.device_get(changed['batch_stats']), module, variables


def test_training_is_pytorchs():
  x = (3 + 2 * RANDOM.randn(4, 5, 6, 8)).astype(np.float32)
  y, stats, module, variables = norm(x)
  twin = torch.nn.BatchNorm2d(8)
  twin.weight.data = torch.linspace(0.5, 1.5, 8)
  twin.bias.data = torch.linspace(-1, 1, 8)
  theirs = twin(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).detach().numpy()
  np.testing.assert_allclose(y, theirs, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(stats['mean'], twin.running_mean, rtol=1e-5)
  np.testing.assert_allclose(stats['var'], twin.running_var, rtol=1e-5)
  twin.eval()
  variables['batch_stats'] = stats
  evaluated = module.apply(variables, x, False)
  theirs = twin(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).detach().numpy()
  np.testing.assert_allclose(evaluated, theirs, rtol=1e-4, atol=1e-5)


def test_tensorflows_running_variance_is_biased():
  x = RANDOM.randn(2, 2, 2, 3).astype(np.float32)
  _, stats, _, _ = norm(x, 'tf')
  np.testing.assert_allclose(stats['var'], 0.99 + 0.01 * x.var((0, 1, 2)), rtol=1e-5)
  np.testing.assert_allclose(stats['mean'], 0.01 * x.mean((0, 1, 2)), rtol=1e-4)


def test_large_means_do_not_cancel():
  x = (1e4 + RANDOM.randn(8, 8, 8, 2)).astype(np.float32)
  y, _, _, _ = norm(x, stats={'mean': jnp.full(2, 1e4), 'var': jnp.ones(2)})
  exact = (x.astype(np.float64) - x.mean((0, 1, 2), dtype=np.float64)) / x.std(
    (0, 1, 2), dtype=np.float64
  ) * [0.5, 1.5] + [-1, 1]
  np.testing.assert_allclose(y, exact, atol=2e-2)
  cold, _, _, _ = norm(x)  # running mean still 0: coarse, but finite
  assert np.isfinite(cold).all()


def test_groups_normalise_by_themselves():
  x = RANDOM.randn(8, 3, 3, 4).astype(np.float32)
  grouped, stats, _, _ = norm(x, groups=4)
  parts = [norm(x[i : i + 2]) for i in range(0, 8, 2)]
  np.testing.assert_allclose(grouped, np.concatenate([p[0] for p in parts]), rtol=1e-5, atol=1e-6)
  for key in ('mean', 'var'):
    expected = np.mean([p[1][key] for p in parts], 0)
    np.testing.assert_allclose(stats[key], expected, rtol=1e-5, atol=1e-6)
  with pytest.raises(UserError, match='batch of 8 does not divide by bn_groups=3'):
    norm(x, groups=3)


@pytest.mark.parametrize(('groups', 'communicates'), [(1, True), (8, False)])
def test_statistics_of_the_batch_on_eight_devices(groups, communicates):
  mesh = sharding.make_mesh()
  module = layers.BatchNorm(layers.PRESET['torch'], groups)
  variables = {
    'params': {'scale': jnp.ones(4), 'bias': jnp.zeros(4)},
    'batch_stats': {'mean': jnp.zeros(4), 'var': jnp.ones(4)},
  }
  # Running statistics are means over the groups, so look at the normalised images alone.
  forward = jax.jit(
    lambda v, x: module.apply(v, x, True, mutable=['batch_stats'])[0],
    in_shardings=(sharding.replicated(mesh), sharding.by_image(mesh)),
    out_shardings=sharding.by_image(mesh),
  )
  x = (RANDOM.randn(16, 3, 3, 4) + np.arange(16)[:, None, None, None]).astype(np.float32)
  text = forward.lower(variables, x).compile().as_text()
  assert ('all-reduce' in text) == communicates
  expected = module.apply(variables, x, True, mutable=['batch_stats'])[0]
  np.testing.assert_allclose(forward(variables, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(('rule', 'size', 'kernel', 'stride', 'expected'), [
  ('symmetric', 224, 3, 2, (1, 1)), ('symmetric', 225, 5, 2, (2, 2)),
  ('same', 224, 3, 2, (0, 1)), ('same', 224, 5, 2, (1, 2)), ('same', 225, 3, 2, (1, 1)),
  ('same', 112, 5, 1, (2, 2)),
])
def test_paddings(rule, size, kernel, stride, expected):
  assert pooling.explicit_padding(rule, (size, size), kernel, stride) == (expected, expected)


def test_drop_path_keeps_the_mean():
  x = jnp.ones((4000, 1, 1, 2))
  y = np.asarray(layers.drop_path(x, 0.25, jax.random.key(0)))
  assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
  assert y.mean() == pytest.approx(1.0, abs=0.03)
  assert (y[..., 0] == y[..., 1]).all()


@pytest.mark.parametrize(('initialise', 'shape', 'std'), [
  (initializers.fan_out_normal, (3, 3, 16, 64), (2 / (9 * 64)) ** 0.5),
  (initializers.fan_out_normal, (64, 256), (2 / 256) ** 0.5),
  (initializers.fan_out_normal, (5, 5, 256), (2 / 25) ** 0.5),
  (initializers.dense_uniform, (64, 1600), 1600**-0.5 / 3**0.5),
  (initializers.dense_uniform, (640, 10), 1000**-0.5 / 3**0.5),
  (initializers.dense_uniform_of_outputs, (640, 10), 10**-0.5 / 3**0.5),
])
def test_moments_of_initialisers(initialise, shape, std):
  draw = jax.jit(lambda key: initialise(key, shape))
  values = np.asarray(draw(jax.random.key(0)))
  assert values.shape == shape and values.dtype == np.float32
  assert values.std() == pytest.approx(std, rel=0.05)
  assert abs(values.mean()) < 0.05 * std
  assert not np.array_equal(values, draw(jax.random.key(1)))


@pytest.mark.parametrize('init', [
  lambda: create_model('tiny_efficientnet').init(
    jax.random.key(1), jnp.zeros((1, 32, 32, 3)), train=False),
  lambda: {'drawn': [initializers.dense_normal(jax.random.key(i), (3, i)) for i in (1, 2)],
           'constant': jnp.ones(3)},
], ids=['network', 'tree'])
def test_initial_values_are_those_of_a_jitted_init(init):
  expected, found = jax.jit(init)(), initializers.initial_values(init)
  assert jax.tree.structure(found) == jax.tree.structure(expected)
  for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    assert isinstance(ours, np.ndarray) and ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


def test_initial_values_that_change_after_they_were_drawn():
  init = lambda: {'twice': 2 * initializers.dense_normal(jax.random.key(0), (3, 4))}
  found = initializers.initial_values(init)['twice']
  np.testing.assert_array_equal(found, jax.jit(init)()['twice'])
  assert found.std() > 0
