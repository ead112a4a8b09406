"""Folders: timm reads ours, we read timm's, and none is ever half there."""

import functools
import json
import os
import pathlib

import jax
import numpy as np
import pytest

import ecanet_jax
from ecanet_jax import create_model, load_pretrained
from ecanet_jax.config.schema import get_config
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import from_torch, read_folder, to_torch
from ecanet_jax.weights.export import export
from ecanet_jax.weights.files import formats
from tests.support.random_variables import random_variables
from tests.support.weights_folder import MODEL, PREPROCESSING, write


def recipe(name, **model):
  config = get_config().to_dict()
  config['model'] |= {'name': name, 'num_classes': 10, **model}
  config['data'] |= PREPROCESSING
  return config


def listing(directory):
  return sorted(path.name for path in pathlib.Path(directory).iterdir())


def test_comes_back(tmp_path):
  labels = [f'label {i}' for i in range(10)]
  state = write(tmp_path / 'a' / 'b', label_names=labels)
  folder = read_folder(tmp_path / 'a' / 'b')
  assert folder.model == {'name': 'tiny_efficientnet', 'num_classes': 10}
  assert folder.data == {
    key: list(value) if isinstance(value, tuple) else value for key, value in PREPROCESSING.items()
  }
  assert folder.label_names == tuple(labels)
  assert all(folder.state_dict[key].tobytes() == state[key].tobytes() for key in state)
  assert listing(tmp_path / 'a') == ['b'] and listing(tmp_path / 'a' / 'b') == [
    'README.md', 'config.json', 'model.safetensors'
  ]


def test_an_applied_exif_orientation_comes_back(tmp_path):
  write(tmp_path, exif='apply')
  assert read_folder(tmp_path).data['exif'] == 'apply'
  assert ecanet_jax.load(tmp_path).preprocessing['exif'] == 'apply'


def test_former_export_is_replaced(tmp_path):
  write(tmp_path / 'x')
  (tmp_path / 'x' / 'README.md').write_text('mine')
  state = write(tmp_path / 'x', seed=1)
  assert (read_folder(tmp_path / 'x').state_dict['bn1.bias'] == state['bn1.bias']).all()
  assert listing(tmp_path) == ['x']


def test_readme_says_what_is_known(tmp_path):
  write(tmp_path / 'a')
  text = (tmp_path / 'a' / 'README.md').read_text()
  assert '| evaluation | not measured |' in text and '| training data | not known |' in text
  assert '| parameters | 8,430 |' in text and 'mean (0.5, 0.4, 0.3)' in text
  assert 'timm has no such network' in text and 'load_pretrained' in text
  write(tmp_path / 'b', data_name='digits', evaluation='top-1 99.44 % of 360 images')
  text = (tmp_path / 'b' / 'README.md').read_text()
  assert '| evaluation | top-1 99.44 % of 360 images |' in text
  assert '| training data | digits |' in text


@pytest.mark.parametrize('offset', [20, -20])
def test_damaged_weights(tmp_path, offset):
  write(tmp_path)
  content = bytearray((tmp_path / 'model.safetensors').read_bytes())
  content[offset] ^= 4
  (tmp_path / 'model.safetensors').write_bytes(content)
  with pytest.raises(UserError, match=r'model\.safetensors is damaged'):
    read_folder(tmp_path)
  config = json.loads((tmp_path / 'config.json').read_text())
  del config['ecanet_jax']['checksums']  # as timm writes it: the payload cannot be compared
  (tmp_path / 'config.json').write_text(json.dumps(config))
  if offset < 0:
    assert read_folder(tmp_path).model['name'] == 'tiny_efficientnet'


def test_load_pretrained(tmp_path):
  state = write(tmp_path)
  model, variables = load_pretrained(tmp_path)
  assert model == MODEL
  back = to_torch(model, variables)
  assert all(back[key].tobytes() == state[key].tobytes() for key in state)
  with pytest.raises(UserError, match='is not a directory'):
    load_pretrained(tmp_path / 'model.safetensors')


def test_create_model_with_weights(tmp_path, caplog):
  state = write(tmp_path)
  create = functools.partial(ecanet_jax.create_model, 'tiny_efficientnet', pretrained=tmp_path)
  model, variables = create(drop_path=0.1)
  assert model == create_model('tiny_efficientnet', num_classes=10, drop_path=0.1)
  assert to_torch(model, variables)['conv_stem.weight'].tobytes() == (
    state['conv_stem.weight'].tobytes()
  )
  model, other = create(num_classes=3)
  assert model.num_classes == 3 and other['params']['classifier']['bias'].shape == (3,)
  assert 'its classifier of 10 classes is replaced by a new one of 3' in caplog.text
  np.testing.assert_array_equal(
    other['params']['stem']['kernel'], variables['params']['stem']['kernel']
  )
  with pytest.raises(UserError, match='does not fit the network'):
    ecanet_jax.create_model('efficientnet_b0', pretrained=tmp_path)
  with pytest.raises(UserError, match=r'weights do not fit .* missing \(params/.*attention/red'):
    create(attention='se')


def test_weights_of_another_padding_are_refused(tmp_path):
  name = 'tf_efficientnet_lite0'
  model = create_model(name, num_classes=3)
  content = formats.to_bytes(to_torch(model, random_variables(model)))
  formats.write_bytes(str(tmp_path / 'model.safetensors'), content)
  (tmp_path / 'config.json').write_text(json.dumps({'architecture': name, 'num_classes': 3}))
  assert read_folder(tmp_path).model['name'] == name
  with pytest.raises(UserError, match=(
    f'holds {name}, which has the padding and BatchNorm of preset=tf; efficientnet_lite0 has '
    f'preset=torch. Ask for {name}, or for no name'
  )):
    read_folder(tmp_path, 'efficientnet_lite0')


def test_load_pretrained_of_a_folder_of_timm(tmp_path):
  model = create_model('mobilenetv2_050', num_classes=3)
  variables = random_variables(model)
  content = formats.to_bytes(to_torch(model, variables))
  formats.write_bytes(str(tmp_path / 'model.safetensors'), content)
  config = {
    'architecture': 'mobilenetv2_050', 'num_classes': 3, 'num_features': 1280,
    'pretrained_cfg': {'tag': 'lamb_in1k', 'crop_pct': 0.875, 'mean': [0.5] * 3, 'std': [0.5] * 3,
                       'interpolation': 'bicubic', 'input_size': [3, 224, 224]},
  }
  (tmp_path / 'config.json').write_text(json.dumps(config))
  loaded, found = load_pretrained(tmp_path)
  assert loaded == model
  jax.tree.map(np.testing.assert_array_equal, found, variables)


def test_other_files_are_never_replaced(tmp_path):
  (tmp_path / 'thesis.tex').write_text('years of work')
  with pytest.raises(UserError, match=r"holds 'thesis\.tex', which is not of an export"):
    write(tmp_path)
  assert listing(tmp_path) == ['thesis.tex']
  with pytest.raises(UserError, match=r'thesis\.tex is a file'):
    write(tmp_path / 'thesis.tex')
  with pytest.raises(UserError, match="s3://bucket/x: unknown scheme 's3'"):
    write('s3://bucket/x')


@pytest.mark.parametrize('failing', [1, 2])
def test_failed_write_leaves_the_former_export(tmp_path, monkeypatch, failing):
  state = write(tmp_path / 'x')
  calls, rename = [], os.rename

  def fail(source, target):
    calls.append(source)
    if len(calls) == failing:
      raise OSError(5, 'Input/output error')
    rename(source, target)

  monkeypatch.setattr(os, 'rename', fail)
  with pytest.raises(UserError, match=r'cannot write .*Input/output error'):
    write(tmp_path / 'x', seed=1)
  assert listing(tmp_path) == ['x']
  assert (read_folder(tmp_path / 'x').state_dict['bn1.bias'] == state['bn1.bias']).all()


def test_label_names_must_be_as_many_as_classes(tmp_path):
  with pytest.raises(UserError, match='2 label names for 10 classes'):
    write(tmp_path / 'x', label_names=['a', 'b'])
  assert listing(tmp_path) == []


def test_damaged_folders(tmp_path):
  with pytest.raises(UserError, match=r'config\.json: No such file'):
    read_folder(tmp_path)
  write(tmp_path)
  (tmp_path / 'config.json').write_text('{"architecture":')
  with pytest.raises(UserError, match=r'is not the config\.json of a timm folder'):
    read_folder(tmp_path)
  (tmp_path / 'config.json').write_text('{"architecture": "resnet50", "model_args": {"a": 1}}')
  with pytest.raises(UserError, match=r"'resnet50' with \{'a': 1\}; convert it by `python"):
    read_folder(tmp_path)


def test_folder_of_timm_without_our_section(tmp_path):
  write(tmp_path)
  config = {'architecture': 'efficientnet_b0', 'num_classes': 10, 'model_args': {'se_layer': 'eca'}}
  (tmp_path / 'config.json').write_text(json.dumps(config))
  assert read_folder(tmp_path).model == {'name': 'eca_efficientnet_b0', 'num_classes': 10}


def test_export_of_an_override_that_timm_lacks(tmp_path):
  attention = {'kind': 'eca', 'where': 'stages', 'stages': (2,), 'k': (3,)}
  config = recipe('tiny_efficientnet', attention=attention)
  config['data']['image_size'] = 32
  model = create_model('tiny_efficientnet', num_classes=10, attention=attention)
  variables = random_variables(model)
  result = export(config, variables, tmp_path / 'x')
  assert not result.in_pytorch and 'timm has no such network' in str(result)
  folder = read_folder(tmp_path / 'x')
  assert folder.model['attention'] == {
    'kind': 'eca', 'where': 'stages', 'stages': [2], 'k': [3]
  }
  assert json.loads((tmp_path / 'x' / 'config.json').read_text())['architecture'].startswith('ecan')
  back = from_torch(model, folder.state_dict)
  assert (back['params']['stem']['kernel'] == variables['params']['stem']['kernel']).all()


def test_export_that_fails_writes_nothing(tmp_path):
  config = recipe('tiny_efficientnet')
  variables = random_variables(MODEL)
  variables['params']['stem']['kernel'][0, 0, 0, 0] = np.inf
  for target in ('x', 'x.safetensors'):
    with pytest.raises(UserError, match='nothing is written'):
      export(config, variables, tmp_path / target)
  with pytest.raises(UserError, match='a folder has the names of timm'):
    export(config, variables, tmp_path / 'x', dialect='lukemelas')
  assert listing(tmp_path) == []


def test_timm_loads_the_folder(tmp_path):
  torch = pytest.importorskip('torch')
  timm = pytest.importorskip('timm')
  model = create_model('eca_efficientnet_b0', num_classes=10)
  variables = random_variables(model)
  # As an override of efficientnet_b0, so that export has to find the network in timm.
  config = recipe('efficientnet_b0', attention={'kind': 'eca'})
  result = export(config, variables, tmp_path / 'x', label_names=list('abcdefghij'))
  assert result.in_pytorch and result.max_rel < 1e-5
  assert 'efficientnet_b0, se_layer=' in result.reference

  loaded = timm.create_model(f'local-dir:{tmp_path / "x"}', pretrained=True).eval()
  direct = timm.create_model('efficientnet_b0', se_layer='eca', num_classes=10).eval()
  direct.load_state_dict({k: torch.from_numpy(v) for k, v in to_torch(model, variables).items()})
  images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
  with torch.no_grad():
    assert torch.equal(loaded(images), direct(images))
  assert loaded.pretrained_cfg['label_names'] == list('abcdefghij')
  assert timm.data.resolve_model_data_config(loaded) == {
    'input_size': [3, 64, 64], 'interpolation': 'bilinear', 'mean': [0.5, 0.4, 0.3],
    'std': [0.2, 0.2, 0.1], 'crop_pct': 0.9, 'crop_mode': 'center',
  }


def test_timm_does_not_take_a_network_that_it_lacks(tmp_path):
  pytest.importorskip('torch')
  timm = pytest.importorskip('timm')
  write(tmp_path)
  with pytest.raises(RuntimeError, match=r'Unknown model .ecanet_jax_tiny_efficientnet'):
    timm.create_model(f'local-dir:{tmp_path}', pretrained=True)
