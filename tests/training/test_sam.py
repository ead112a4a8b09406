"""Sharpness-aware minimisation against optax's, and with parts, devices and bad steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from ecanet_jax.runtime import sharding
from ecanet_jax.tasks.classification import Classification
from ecanet_jax.training.optimizer import make_optimizer
from ecanet_jax.training.state import init_state
from ecanet_jax.training.step import ascended, make_train_step
from tests.support.small_convnet import SmallConvNet
from tests.support.step_runs import assert_close, configured, trained

RHO, RATE = 0.2, 0.1
SAM = {'sam_rho': RHO}


@pytest.fixture(scope='module')
def one():
  """A network, a batch, and the compiled step with SAM."""
  config = configured(1, 1)
  config.optimizer.sam_rho, config.optimizer.weight_decay = RHO, 1e-2
  config.optimizer.clip_norm = 1.0
  model, task, mesh = SmallConvNet(), Classification(config), sharding.make_mesh(1)
  tx = make_optimizer(config, lambda step: RATE)
  random = np.random.RandomState(0)
  batch = {
    'image': random.randint(0, 256, (16, 16, 16, 3)).astype(np.float32),
    'label': random.randint(0, 10, 16).astype(np.int32),
  }
  state = init_state(model, tx, config, task.example(), mesh)
  step = make_train_step(model, task, tx, lambda step: jnp.float32(RATE), config, mesh)
  return model, task, tx, step, state, batch, mesh


def run(one, batch):
  _, _, _, step, state, _, mesh = one
  copy = jax.tree.map(jnp.array, state)  # the step takes its state
  return jax.device_get(step(copy, sharding.put_batch(batch, mesh)))


def test_a_step_is_that_of_optax(one):
  model, task, tx, _, state, batch, _ = one
  images, stats = task.inputs(batch), state.variables['batch_stats']

  def loss(params):
    outputs, changed = model.apply(
      {'params': params, 'batch_stats': stats}, images, train=True, mutable=['batch_stats']
    )
    return task.loss(outputs, batch), changed['batch_stats']

  ascent = optax.chain(optax.contrib.normalize(), optax.sgd(RHO))
  theirs = optax.contrib.sam(tx, ascent, opaque_mode=True)

  @jax.jit
  def update(params):
    (value, statistics), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    updates, _ = theirs.update(
      gradient, theirs.init(params), params, grad_fn=lambda params, _: jax.grad(
        lambda params: loss(params)[0])(params)
    )
    return optax.apply_updates(params, updates), value, statistics

  params, expected, statistics = update(state.variables['params'])
  after, metrics = run(one, batch)
  assert_close(after.variables['params'], params, 1e-4, 1e-6)
  # The loss and BatchNorm's statistics are those of the parameters themselves.
  assert metrics['loss'] == pytest.approx(float(expected), rel=1e-5)
  assert_close(after.variables['batch_stats'], statistics)


def test_a_bad_step_changes_nothing(one):
  state, batch = jax.device_get(one[4]), one[5]
  image = batch['image'].copy()
  image[3, 0, 0, 0] = np.nan
  after, metrics = run(one, {**batch, 'image': image})
  assert metrics['left_out'] == 1 and int(after.step) == 1
  jax.tree.map(np.testing.assert_array_equal, after.variables, state.variables)


def test_the_distance_is_rho_and_without_a_gradient_nothing_moves():
  params = {'a': jnp.ones((3,)), 'b': jnp.ones((2, 2))}
  gradient = {'a': jnp.array([3.0, 0.0, 0.0]), 'b': jnp.full((2, 2), 2.0)}
  moved = jax.tree.map(jnp.subtract, ascended(params, gradient, RHO), params)
  assert float(optax.tree.norm(moved)) == pytest.approx(RHO, rel=1e-5)
  np.testing.assert_allclose(moved['a'], [RHO * 3 / 5, 0, 0], rtol=1e-5)
  still = ascended(params, jax.tree.map(jnp.zeros_like, gradient), RHO)
  jax.tree.map(np.testing.assert_array_equal, still, params)


def test_parts_and_devices_change_rounding_only():
  state, metrics, _ = trained(4, 4, devices=8, count=1, optimizer=SAM)
  expected, their_metrics, _ = trained(1, 4, devices=1, count=1, optimizer=SAM)
  assert_close(state, expected)  # parameters, statistics, their averages, the optimizer
  assert_close(metrics, their_metrics)


def test_a_vanishing_distance_is_the_plain_step():
  found, _, _ = trained(1, 1, count=1, optimizer={'sam_rho': 1e-9})
  assert_close(found, trained(1, 1, count=1)[0])
