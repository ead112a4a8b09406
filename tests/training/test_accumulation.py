"""Accumulation: parts of a batch in turn give the step of the whole batch."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax import data
from ecanet_jax.models.from_config import make_model
from ecanet_jax.runtime import sharding
from ecanet_jax.training.accumulation import mean_of_parts
from tests.support.small_convnet import SmallConvNet
from tests.support.step_runs import assert_close, configured, trained


@pytest.fixture(scope='module')
def whole():
  """1 x 64 with the statistics of each fourth, on one device."""
  return trained(1, 4)[:2]


@pytest.mark.parametrize(('devices', 'resident'), [(1, False), (8, False), (8, True)])
def test_four_parts_are_the_whole_batch(whole, devices, resident):
  state, metrics, _ = trained(4, 4, devices, resident)
  assert int(state.step) == 4
  assert_close(state, whole[0])  # parameters, statistics, their averages, the optimizer
  assert_close(metrics, whole[1])  # loss, norm of the gradient, learning rate


@pytest.mark.slow
def test_other_groups_are_another_training(whole):
  state, _, _ = trained(1, 1)
  far = [
    not np.allclose(a, b, rtol=1e-3, atol=1e-3)
    for a, b in zip(jax.tree.leaves(state.variables), jax.tree.leaves(whole[0].variables))
  ]
  assert any(far)


def test_images_stay_on_their_device():
  text = trained(4, 32, devices=8, count=1)[2].as_text()
  found = set(re.findall(r'\b(all-[a-z]+|collective-permute|reduce-scatter)(?:-start)?\(', text))
  assert found == {'all-reduce'}


def test_every_part_has_its_own_key_and_the_mean_is_theirs():
  batch = {'x': np.arange(12, dtype=np.float32).reshape(3, 4)}
  draw = lambda part, key: {'mean': part['x'].mean(), 'draw': jax.random.uniform(key, (3,))}
  key = jax.random.key(5)
  found = jax.jit(lambda batch: mean_of_parts(draw, 3, batch, key))(batch)
  assert float(found['mean']) == pytest.approx(5.5)
  draws = [np.asarray(jax.random.uniform(jax.random.fold_in(key, part), (3,))) for part in range(3)]
  assert not np.allclose(draws[0], draws[1])
  np.testing.assert_allclose(found['draw'], np.mean(draws, axis=0), rtol=1e-6)
  whole = mean_of_parts(draw, 1, {'x': batch['x'].ravel()}, key)
  np.testing.assert_array_equal(whole['draw'], jax.random.uniform(key, (3,)))


@pytest.mark.slow
def test_bfloat16():
  model = SmallConvNet(4, jnp.bfloat16)
  state, metrics, _ = trained(4, 4, model=model)
  expected, their_metrics, _ = trained(1, 4, model=model)
  assert {leaf.dtype for leaf in jax.tree.leaves(state.variables)} == {np.dtype('float32')}
  assert_close(state.variables, expected.variables, rtol=0.02, atol=0.02)
  for ours, theirs in zip(metrics, their_metrics):
    assert ours['loss'] == pytest.approx(theirs['loss'], rel=0.01)


@pytest.mark.parametrize('kind', ['digits', 'synthetic'])
@pytest.mark.parametrize('resident', [False, True])
def test_parts_do_not_depend_on_the_hosts(kind, resident):
  """Each host's share of each part, side by side, is the part."""
  config = configured(4, 4, resident)
  config.data.name = kind
  dataset = data.open(config)
  source = dataset.resident() if resident else dataset

  def parts(host, num_hosts):
    batches = itertools.islice(source.train(7, 3, host=host, num_hosts=num_hosts), 3)
    return [{k: v.reshape(4, -1, *v.shape[1:]) for k, v in batch.items()} for batch in batches]

  whole, hosts = parts(0, 1), [parts(host, 2) for host in range(2)]
  for step, expected in enumerate(whole):
    for name, array in expected.items():
      found = np.concatenate([host[step][name] for host in hosts], axis=1)
      np.testing.assert_array_equal(found, array)


@pytest.mark.slow
@pytest.mark.parametrize('remat', ['none', 'elementwise', 'blocks'])
def test_a_whole_network_in_less_memory(remat):
  def run(accumulate):
    config = configured(accumulate, 4)
    config.ops.remat = remat
    model = make_model(config, 10, sharding.make_mesh()).clone(dropout=0.0, drop_path=0.0)
    return trained(accumulate, 4, model=model, ops={'remat': remat})

  (state, _, step), (expected, _, their_step) = run(4), run(1)
  assert_close(state, expected)
  size = lambda step: step.memory_analysis().temp_size_in_bytes
  assert size(step) < 0.5 * size(their_step)
