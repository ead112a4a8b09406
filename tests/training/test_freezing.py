"""Frozen stages and frozen BatchNorm stay to the bit; the rest trains."""

import jax
import numpy as np
import pytest

from ecanet_jax.config import schema
from ecanet_jax.models import create_model
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.training.optimizer import make_optimizer
from tests.support.random_variables import random_variables

BATCH = np.random.default_rng(0).normal(size=(8, 32, 32, 3)).astype(np.float32)


def train(**fields):
  """Variables before and after a step of SGD with weight decay."""
  config = schema.get_config()
  config.optimizer.name, config.optimizer.weight_decay = 'sgd', 0.1
  config.model.frozen_stages = fields.get('frozen_stages', 0)
  model = create_model('tiny_efficientnet', num_classes=4, drop_path=0.2, **fields)
  tx = make_optimizer(config, lambda step: 0.1, model.is_frozen)
  start = random_variables(model)

  def update(variables, state):
    def loss(params):
      logits, changed = model.apply(
        {**variables, 'params': params}, BATCH, train=True, mutable=['batch_stats'],
        rngs={'dropout': jax.random.key(1)},
      )
      return (logits**2).mean() - logits[:, 0].mean(), changed['batch_stats']

    gradient, statistics = jax.grad(loss, has_aux=True)(variables['params'])
    updates, state = tx.update(gradient, state, variables['params'])
    params = jax.tree.map(lambda p, u: p + u, variables['params'], updates)
    return {'params': params, 'batch_stats': statistics}, state

  step = jax.jit(update, compiler_options={'xla_backend_optimization_level': 0})
  return start, step(start, tx.init(start['params']))[0]


def changed(before, after):
  """Which top-level modules changed, in each collection."""
  return {
    collection: {
      name for name in before[collection]
      if any(jax.tree.leaves(jax.tree.map(
        lambda a, b: not np.array_equal(a, b), before[collection][name], after[collection][name]
      )))
    }
    for collection in before
  }


def test_frozen_stages_stay_and_the_rest_trains():
  what = changed(*train(frozen_stages=2))
  assert what == {
    'params': {'blocks_2_0', 'head', 'head_bn', 'classifier'},
    'batch_stats': {'blocks_2_0', 'head_bn'},
  }


def test_frozen_batch_norm_keeps_its_statistics_and_trains_its_scale():
  before, after = train(frozen_bn=True)
  what = changed(before, after)
  assert what['batch_stats'] == set()
  assert what['params'] == set(before['params'])


@pytest.mark.slow
def test_nothing_is_frozen_unless_asked():
  before, after = train()
  assert changed(before, after) == {key: set(before[key]) for key in before}


def test_impossible_number_of_stages():
  with pytest.raises(UserError, match='frozen_stages=4 must be from 0 to 3'):
    create_model('tiny_efficientnet', frozen_stages=4)


def test_all_but_the_classifier():
  assert changed(*train(frozen_stages=-1)) == {'params': {'classifier'}, 'batch_stats': set()}
