"""Weights to start from: every form, a new head, what does not fit."""

import dataclasses
import logging

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from configs import smoke
from ecanet_jax import create_model
from ecanet_jax.checkpoints.files import save_weights
from ecanet_jax.config.trees import plain
from ecanet_jax.runtime import sharding
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.training.optimizer import make_optimizer
from ecanet_jax.training.pretrained_init import initial_weights
from ecanet_jax.training.state import init_state
from ecanet_jax.training.trainer import Trainer
from ecanet_jax.weights import read_weights, to_torch, write_state_dict
from tests.support.random_variables import random_variables
from tests.support.small_convnet import SmallConvNet

HEAD = {'params/classifier/kernel', 'params/classifier/bias'}


def network(classes=10, **fields):
  return create_model('tiny_efficientnet', num_classes=classes, **fields)


def configured(weights, **data):
  config = smoke.get_config()
  config.init.weights, config.tensorboard = str(weights), False
  config.data.update(data)
  return config


def write_checkpoint(directory, model, **changes):
  """Weights of ours with their recipe; returns them by path."""
  recipe = smoke.get_config()
  recipe.model.num_classes = model.num_classes
  recipe.update_from_flattened_dict(changes)
  variables = random_variables(model)
  save_weights(directory, plain(recipe), variables)
  return flatten_dict(variables, sep='/')


@pytest.fixture
def lines(monkeypatch, caplog):
  """What is logged."""
  found = []
  log = logging.getLogger('ecanet_jax')
  handler = logging.Handler()
  handler.emit = lambda record: found.append((record.levelname, record.getMessage()))
  monkeypatch.setattr(log, 'handlers', [handler])
  caplog.set_level(logging.INFO, 'ecanet_jax')
  return found


def test_every_array_of_a_training(tmp_path, lines):
  expected = write_checkpoint(tmp_path, network())
  found = initial_weights(configured(tmp_path), network())
  assert found.keys() == expected.keys()
  assert all(np.array_equal(found[key], expected[key]) for key in expected)
  assert len(lines) == 1
  assert lines[0][1] == (
    f'starts from {tmp_path}: tiny_efficientnet, {len(expected)} of {len(expected)} arrays'
  )


def test_a_file_with_another_number_of_classes_gets_a_new_head(tmp_path, lines):
  path = tmp_path / 'w.safetensors'
  variables = random_variables(network(7))
  write_state_dict(str(path), to_torch(network(7), variables))
  found = initial_weights(configured(path), network())
  expected = flatten_dict(variables, sep='/')
  assert found.keys() == expected.keys() - HEAD
  assert all(np.array_equal(found[key], expected[key]) for key in found)
  assert lines[1] == ('INFO', (
    'new, not from the weights (10 classes instead of 7): params/classifier/bias [10], '
    'params/classifier/kernel [32, 10]'
  ))


def test_a_new_head_on_request(tmp_path, lines):
  write_checkpoint(tmp_path, network())
  config = configured(tmp_path)
  config.init.new_head = True
  assert not HEAD & initial_weights(config, network()).keys()
  assert lines[1][1].startswith('new, not from the weights (init.new_head): params/classifier/bias')


def test_other_class_names_get_a_new_head(tmp_path, lines):
  theirs = tuple('abcdefghij')
  write_checkpoint(tmp_path, network())
  source = dataclasses.replace(read_weights(tmp_path), label_names=theirs)
  config = configured(tmp_path)
  start = lambda names: initial_weights(config, network(), source, names).keys()
  assert start(theirs) >= HEAD and start(None) >= HEAD
  assert not HEAD & start((*theirs[:8], 'x', 'j'))
  assert "(other class names, first 'i' and 'x'; data.accept_changes keeps it)" in lines[-1][1]
  config.data.accept_changes = True
  assert start((*theirs[:8], 'x', 'j')) >= HEAD


def test_preprocessing_that_differs_is_one_warning(tmp_path, lines):
  write_checkpoint(tmp_path, network(), **{'data.mean': (0.5, 0.5, 0.5)})
  initial_weights(configured(tmp_path, interpolation='bilinear'), network())
  assert [level for level, _ in lines] == ['INFO', 'WARNING']
  assert lines[1][1].endswith(
    'to do the same: --config.data.mean="(0.5,0.5,0.5)" --config.data.interpolation=bicubic'
  )


def test_state_and_average_start_from_them():
  config, model = smoke.get_config(), SmallConvNet()
  images = jax.numpy.zeros((1, 8, 8, 3))
  tx = make_optimizer(config, lambda step: 0.1)
  mesh = sharding.make_mesh(1)
  start = lambda loaded: init_state(model, tx, config, images, mesh, loaded)
  random, loaded = start({}), {'params/head/kernel': np.full((8, 16), 3.0, np.float32),
                               'batch_stats/head_bn/mean': np.full((16,), 2.0, np.float32)}
  state = start(loaded)
  for tree in (state.variables, state.ema):
    found, others = flatten_dict(tree, sep='/'), flatten_dict(random.variables, sep='/')
    assert found.keys() == others.keys()
    for key, array in found.items():
      np.testing.assert_array_equal(array, loaded.get(key, others[key]))


@pytest.mark.parametrize(('fields', 'text'), [
  ({'attention': 'se'}, 'these weights do not fit the network, which has'),
  ({'width': 2.0}, 'wrong in shape (batch_stats/blocks_0_0/depthwise_bn/mean (8,) instead'),
  ({'preset': 'tf'}, "computes something else, theirs and ours: preset 'torch' and 'tf'."),
])
def test_weights_of_another_network(tmp_path, fields, text):
  write_checkpoint(tmp_path, network())
  with pytest.raises(UserError) as error:
    initial_weights(configured(tmp_path), network(**fields))
  assert str(error.value).startswith(f'init.weights={tmp_path}: ')
  assert text in str(error.value) and '\n' not in str(error.value)


def test_nothing_is_written_when_they_do_not_fit(tmp_path):
  write_checkpoint(tmp_path / 'theirs', network())
  for weights, text in (('none', 'none: no such file or directory.'), ('theirs', 'do not fit')):
    config = configured(tmp_path / weights)
    config.model.attention.kind = 'se'
    with pytest.raises(UserError, match=text):
      Trainer(config, tmp_path / 'workdir').run()
    assert not (tmp_path / 'workdir').exists()
