"""Weights of any form: what each form stores, and the default of what it does not store."""

import json

import numpy as np
import pytest
from flax import traverse_util

from ecanet_jax import create_model
from ecanet_jax.data.preprocessing import find_preprocessing
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import read_weights, to_torch, write_state_dict
from ecanet_jax.weights.files import formats
from tests.support.random_variables import random_variables

MODEL = create_model('tiny_efficientnet', num_classes=10)
SECTION = {'name': 'tiny_efficientnet'}


def write_folder_of_timm(path, **pretrained):
  """A folder without our section: it stores only the given preprocessing."""
  state = to_torch(MODEL, random_variables(MODEL))
  formats.write_bytes(str(path / 'model.safetensors'), formats.to_bytes(state))
  write_config_of_timm(path, pretrained_cfg=pretrained)


def write_config_of_timm(path, **fields):
  config = {'architecture': 'some_network', 'num_classes': 10, 'pretrained_cfg': {}, **fields}
  (path / 'config.json').write_text(json.dumps(config))


def test_file(tmp_path):
  path = tmp_path / 'w.safetensors'
  write_state_dict(str(path), to_torch(MODEL, random_variables(MODEL)))
  source = read_weights(path, model=SECTION)
  assert source.model == {**SECTION, 'num_classes': 10} and source.create() == MODEL
  assert source.data == find_preprocessing('timm').data(224)
  assert source.data_source == 'timm, the default for tiny_efficientnet'
  assert read_weights(path, model=SECTION, preprocessing='lite').data['mean'] == [127 / 255] * 3
  with pytest.raises(UserError, match='does not say which network it is of'):
    read_weights(path)


def test_folder_of_an_unknown_network_with_some_preprocessing(tmp_path):
  write_folder_of_timm(tmp_path, mean=[0.1, 0.2, 0.3], crop_pct=0.95)
  with pytest.raises(UserError, match=r"'some_network' with .*; convert it by `python"):
    read_weights(tmp_path)
  source = read_weights(tmp_path, model=SECTION)
  assert source.model == {**SECTION, 'num_classes': 10}
  assert source.data == find_preprocessing('timm').data(224) | {
    'mean': [0.1, 0.2, 0.3], 'crop_fraction': 0.95
  }
  assert 'but for mean, crop_fraction of config.json' in source.data_source


def test_folder_keeps_its_preprocessing(tmp_path):
  write_folder_of_timm(
    tmp_path, mean=[0.1] * 3, std=[0.2] * 3, crop_pct=1.0, interpolation='bilinear',
    input_size=[3, 64, 64],
  )
  source = read_weights(tmp_path, model=SECTION)
  assert source.data['image_size'] == 64 and source.data_source == 'of config.json'
  with pytest.raises(UserError, match=r'has its own preprocessing; leave it out'):
    read_weights(tmp_path, model=SECTION, preprocessing='tf')


@pytest.mark.parametrize(('names', 'found'), [
  (list('abcdefghij'), tuple('abcdefghij')),
  ({str(number): name for number, name in reversed(list(enumerate('abcdefghij')))},
   tuple('abcdefghij')),
  (None, None), ([], None), ({}, None), (3, None), ('abcdefghij', None), ([1] * 10, None),
  (dict.fromkeys('abcdefghij', 'x'), None),
])
def test_label_names_of_a_folder(tmp_path, names, found):
  write_folder_of_timm(tmp_path)
  write_config_of_timm(tmp_path, label_names=names)
  assert read_weights(tmp_path, model=SECTION).label_names == found
  write_config_of_timm(tmp_path, pretrained_cfg={'label_names': names})
  assert read_weights(tmp_path, model=SECTION).label_names == found


def test_too_few_label_names_are_not_used(tmp_path, caplog):
  write_folder_of_timm(tmp_path)
  write_config_of_timm(tmp_path, label_names=['a', 'b'])
  assert read_weights(tmp_path, model=SECTION).label_names is None
  assert 'label_names has 2 names for 10 classes; they are not used' in caplog.text


@pytest.mark.parametrize('config', ['[]', '{"architecture": "a", "pretrained_cfg": 3}', 'null'])
def test_config_of_another_kind(tmp_path, config):
  (tmp_path / 'config.json').write_text(config)
  with pytest.raises(UserError, match=r'is not the config\.json of a timm folder'):
    read_weights(tmp_path)


def test_tf1_checkpoint(tmp_path):
  from tests.support import tf1_checkpoint

  variables, ours = tf1_checkpoint.tf1_variables(tf1_checkpoint.MODEL)
  prefix = tf1_checkpoint.save(str(tmp_path / 'model.ckpt'), variables)
  section = {**SECTION, 'attention': 'se', 'preset': 'tf'}
  source = read_weights(prefix, model=section, dialect='tf1', preprocessing='tf')
  assert source.create() == tf1_checkpoint.MODEL
  found = traverse_util.flatten_dict(source.variables, sep='/')
  assert all(np.array_equal(found[key], ours[key]) for key in ours)
  with pytest.raises(UserError, match='no TF1 checkpoint'):
    read_weights(tmp_path / 'nothing', model=section, dialect='tf1')
