"""Weights from wherever they are: what each form says, and what is taken where it says nothing."""

import json

import numpy as np
import pytest
from flax import traverse_util

from ecanet_jax import create_model
from ecanet_jax.data.preprocessing import preset
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import read_source, to_torch, write_state_dict
from ecanet_jax.weights.files import formats
from tests.support.random_variables import random_variables

MODEL = create_model('tiny_efficientnet', num_classes=10)
SECTION = {'name': 'tiny_efficientnet'}


def write_folder_of_timm(path, **pretrained):
  """A folder without our section, so with no more preprocessing than is given."""
  state = to_torch(MODEL, random_variables(MODEL))
  formats.write_bytes(str(path / 'model.safetensors'), formats.to_bytes(state))
  config = {'architecture': 'some_network', 'num_classes': 10, 'pretrained_cfg': pretrained}
  (path / 'config.json').write_text(json.dumps(config))


def test_file(tmp_path):
  path = tmp_path / 'w.safetensors'
  write_state_dict(str(path), to_torch(MODEL, random_variables(MODEL)))
  source = read_source(path, model=SECTION)
  assert source.model == {**SECTION, 'num_classes': 10} and source.create() == MODEL
  assert source.data == preset('timm').data(224)
  assert source.preprocessing == 'the preset timm, the default for tiny_efficientnet'
  assert read_source(path, model=SECTION, preset='lite').data['mean'] == [127 / 255] * 3
  with pytest.raises(UserError, match='does not say which network it is'):
    read_source(path)


def test_folder_of_an_unknown_network_with_some_preprocessing(tmp_path):
  write_folder_of_timm(tmp_path, mean=[0.1, 0.2, 0.3], crop_pct=0.95)
  with pytest.raises(UserError, match=r"'some_network' with .* is not a network of ours"):
    read_source(tmp_path)
  source = read_source(tmp_path, model=SECTION)
  assert source.model == {**SECTION, 'num_classes': 10}
  assert source.data == preset('timm').data(224) | {
    'mean': [0.1, 0.2, 0.3], 'crop_fraction': 0.95
  }
  assert 'but for mean, crop_fraction of config.json' in source.preprocessing


def test_folder_keeps_its_preprocessing(tmp_path):
  write_folder_of_timm(
    tmp_path, mean=[0.1] * 3, std=[0.2] * 3, crop_pct=1.0, interpolation='bilinear',
    input_size=[3, 64, 64],
  )
  source = read_source(tmp_path, model=SECTION)
  assert source.data['image_size'] == 64 and source.preprocessing == 'as config.json says'
  with pytest.raises(UserError, match=r'has its own preprocessing; leave --preset out'):
    read_source(tmp_path, model=SECTION, preset='tf')


@pytest.mark.parametrize('config', ['[]', '{"architecture": "a", "pretrained_cfg": 3}', 'null'])
def test_config_of_another_kind(tmp_path, config):
  (tmp_path / 'config.json').write_text(config)
  with pytest.raises(UserError, match=r'is not the config\.json of a timm folder'):
    read_source(tmp_path)


def test_tf1_checkpoint(tmp_path):
  from tests.weights import test_tensorflow

  variables, ours = test_tensorflow.tf1_variables(test_tensorflow.MODEL)
  prefix = test_tensorflow.save(str(tmp_path / 'model.ckpt'), variables)
  section = {**SECTION, 'attention': 'se', 'preset': 'tf'}
  source = read_source(prefix, model=section, dialect='tf1', preset='tf')
  assert source.create() == test_tensorflow.MODEL
  found = traverse_util.flatten_dict(source.variables, sep='/')
  assert all(np.array_equal(found[key], ours[key]) for key in ours)
  with pytest.raises(UserError, match='no TF1 checkpoint'):
    read_source(tmp_path / 'nothing', model=section, dialect='tf1')
