"""A few training steps of a small network on generated images, without a trainer."""

import jax
import numpy as np

from configs import smoke
from ecanet_jax import data
from ecanet_jax.runtime import sharding
from ecanet_jax.tasks.classification import Classification
from ecanet_jax.training.accumulation import check_parts
from ecanet_jax.training.optimizer import make_optimizer
from ecanet_jax.training.schedule import make_schedule
from ecanet_jax.training.state import init_state
from ecanet_jax.training.step import make_train_step
from tests.support.small_convnet import SmallConvNet


def configured(accumulate, groups, resident=False):
  config = smoke.get_config()
  config.accumulate, config.model.bn_groups, config.data.resident = accumulate, groups, resident
  config.data.image_size, config.schedule.warmup_epochs = 16, 0.1
  return config


def trained(accumulate, groups, devices=1, resident=False, count=4, model=None, **sections):
  """State and metrics after `count` steps of 64 images, and the compiled step."""
  config = configured(accumulate, groups, resident)
  config.update(sections)
  mesh = sharding.make_mesh(devices)
  check_parts(config, mesh)
  model, task = model or SmallConvNet(groups), Classification(config)
  schedule = make_schedule(config, 8, 64)
  tx = make_optimizer(config, schedule)
  state = init_state(model, tx, config, task.example(), mesh)
  dataset = data.open(config)
  source = dataset.resident() if resident else None
  step = make_train_step(model, task, tx, schedule, config, mesh, source)
  stream = (source or dataset).train(0, count)
  metrics = []
  for batch in stream:
    placed = sharding.put_batch(batch, mesh, config.accumulate)
    if not (metrics or resident):
      step = step.lower(state, placed).compile()
    with jax.transfer_guard('disallow'):
      state, values = step(state, placed)
    metrics.append(values)
  return jax.device_get(state), jax.device_get(metrics), step


def assert_close(found, expected, rtol=1e-5, atol=1e-6):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), found, expected)
