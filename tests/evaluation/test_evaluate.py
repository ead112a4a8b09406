"""Evaluation counts every image once and knows when it did not."""

import jax
import numpy as np
import pytest

from configs import smoke
from ecanet_jax import data
from ecanet_jax.evaluation.evaluate import evaluate, make_eval_step
from ecanet_jax.evaluation.summary import result_line
from ecanet_jax.models.from_config import make_model
from ecanet_jax.runtime import sharding
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.tasks.classification import Classification


@pytest.fixture(scope='module')
def trained():
  config = smoke.get_config()
  model, task = make_model(config, 10, sharding.make_mesh()), Classification(config)
  variables = jax.jit(lambda: model.init(jax.random.key(0), task.example(), train=False))()
  return config, model, task, variables


@pytest.fixture(scope='module')
def expected(trained):
  return evaluated(trained, 100, 1)


def evaluated(trained, batch_size, devices):
  config, model, task, variables = trained
  mesh = sharding.make_mesh(devices)
  batches, steps = data.open(config).eval(batch_size=batch_size)
  step = make_eval_step(model, task, mesh)
  placed = jax.device_put(variables, sharding.replicated(mesh))
  return evaluate(step, placed, batches, steps, 200, task, mesh)


@pytest.mark.parametrize(('batch_size', 'devices'), [(200, 1), (64, 8), (48, 8), (256, 8), (7, 1)])
def test_same_counts_for_every_batch_and_device_split(trained, expected, batch_size, devices):
  found = evaluated(trained, batch_size, devices)
  for key in ('seen', 'top1_count', 'top5_count'):
    assert found[key] == expected[key]
  assert found['seen'] == 200
  assert found['loss'] == pytest.approx(expected['loss'], rel=1e-5)


def test_counts_against_numpy(trained):
  config, model, task, variables = trained
  batches, _ = data.open(config).eval(batch_size=200)
  batch = next(batches)
  apply = jax.jit(lambda batch: model.apply(variables, task.inputs(batch), train=False))
  logits = np.asarray(apply(batch))
  order = np.argsort(-logits, axis=1, kind='stable')
  found = evaluated(trained, 40, 8)
  assert found['top1_count'] == (order[:, 0] == batch['label']).sum()
  assert found['top5_count'] == (order[:, :5] == batch['label'][:, None]).any(1).sum()


def test_a_missing_image_is_an_error(trained):
  config, model, task, variables = trained
  mesh = sharding.make_mesh(1)
  batches, steps = data.open(config).eval(batch_size=100)
  with pytest.raises(UserError, match='saw 100 images and the split has 200'):
    evaluate(make_eval_step(model, task, mesh), variables, batches, steps - 1, 200, task, mesh)


def test_padding_counts_nothing(trained):
  config, model, task, variables = trained
  batch = {
    'image': np.zeros((8, 32, 32, 3), np.uint8), 'label': np.zeros(8, np.int32),
    'mask': np.zeros(8, bool),
  }
  sums = make_eval_step(model, task, sharding.make_mesh(8))(variables, batch)
  assert {key: float(value) for key, value in sums.items()} == {
    'top1': 0, 'top5': 0, 'loss': 0, 'seen': 0
  }


def test_result_line():
  metrics = {'top1': 0.5, 'top5': 1.0, 'loss': 0.25, 'top1_count': 100, 'seen': 200}
  assert result_line(Classification, metrics, 'test', 200, 'EMA weights') == (
    'top-1 50.00 % (100), top-5 100.00 %, loss 0.2500 on 200 of 200 images of test; EMA weights'
  )
