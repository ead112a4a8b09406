"""Remat: the same step from less memory."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import smoke
from ecanet_jax import create_model
from ecanet_jax.models.convnet import REMAT
from ecanet_jax.models.from_config import make_model
from ecanet_jax.runtime import sharding
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.tasks.classification import Classification
from ecanet_jax.training.optimizer import make_optimizer
from ecanet_jax.training.state import init_state
from ecanet_jax.training.step import make_train_step

POLICIES = ('none', 'elementwise', 'blocks')  # by falling memory
NETWORKS = {
  'tiny_resnet': {'depths': (3,), 'attention': 'none', 'drop_path': 0.5},
  'tiny_efficientnet': {'depth': 2.0, 'drop_path': 0.5, 'dropout': 0.5},
}


def network(name, policy):
  return create_model(name, num_classes=10, remat=policy, **NETWORKS[name])


def trained(name, policy):
  """Bytes of the compiled step's temporaries, and the state and metrics after one step."""
  config = smoke.get_config()
  config.optimizer.weight_decay, config.ops.remat = 0.0, policy
  model, task, mesh = network(name, policy), Classification(config), sharding.make_mesh(1)
  schedule = lambda step: jnp.float32(0.1)
  tx = make_optimizer(config, schedule)
  state = init_state(model, tx, config, task.example(), mesh)
  random = np.random.default_rng(0)
  batch = {
    'image': random.integers(0, 256, (16, 32, 32, 3), np.uint8),
    'label': random.integers(0, 10, 16, np.int32),
  }
  lowered = make_train_step(model, task, tx, schedule, config, mesh).lower(state, batch)
  step = lowered.compile()
  size = step.memory_analysis().temp_size_in_bytes
  return size, jax.device_get(step(state, sharding.put_batch(batch, mesh)))


NAMES = ['tiny_resnet', 'tiny_efficientnet']


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_same_step_from_less_memory(name):
  sizes, results = zip(*(trained(name, policy) for policy in POLICIES))
  assert sizes[0] > sizes[1] > sizes[2]
  for result in results[1:]:
    jax.tree.map(
      lambda ours, expected: np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5),
      result, results[0],
    )


def kept_bytes(name, policy):
  """What the forward pass keeps for the gradient, parameters included; computes nothing."""
  model, images = network(name, policy), jnp.zeros((4, 32, 32, 3))
  variables = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))

  def gradient_of(variables):
    def loss(params):
      logits, _ = model.apply(
        {**variables, 'params': params}, images, train=True, mutable=['batch_stats'],
        rngs={'dropout': jax.random.key(0)},
      )
      return logits.sum()

    return jax.vjp(loss, variables['params'])[1]

  leaves = jax.tree.leaves(jax.eval_shape(gradient_of, variables))
  return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


@pytest.mark.slow
@pytest.mark.parametrize('name', [NAMES[0], pytest.param(NAMES[1], marks=pytest.mark.slow)])
def test_keeps_less_for_the_gradient(name):
  kept = [kept_bytes(name, policy) for policy in POLICIES]
  assert kept[0] > 1.5 * kept[1] > 1.5 * kept[2]


def test_policies_and_mistakes():
  assert set(REMAT) == set(POLICIES)
  config = smoke.get_config()
  config.ops.remat = 'block'
  with pytest.raises(UserError, match=r"unknown ops.remat 'block'. Did you mean 'blocks'"):
    make_model(config, 10, sharding.make_mesh(1))
  with pytest.raises(UserError, match=r"unknown remat 'all'"):
    create_model('tiny_resnet', remat='all')


def test_parameters_do_not_depend_on_it():
  shapes = []
  for policy in POLICIES:
    model = network('tiny_resnet', policy)
    init = lambda model=model: model.init(
      jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False
    )
    shapes.append(jax.eval_shape(init))
  assert shapes[0] == shapes[1] == shapes[2]
