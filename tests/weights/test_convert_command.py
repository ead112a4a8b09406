"""`python -m ecanet_jax convert`: there and back, and what it answers to mistakes."""

import jax
import numpy as np
import pytest

from configs.base import get_config
from ecanet_jax import cli, create_model
from ecanet_jax.training.checkpoint import is_checkpoint, load_weights, save_weights
from ecanet_jax.weights import read_state_dict, to_torch, write_state_dict
from tests.weights.random_variables import random_variables


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """A checkpoint of tiny_efficientnet, 10 classes, at 32 pixels, and its variables."""
  path = tmp_path_factory.mktemp('training') / 'workdir'
  config = get_config().to_dict()
  config['model'] |= {'name': 'tiny_efficientnet', 'num_classes': 10}
  config['data'] |= {'image_size': 32, 'mean': [0.5, 0.5, 0.5], 'interpolation': 'bilinear'}
  variables = random_variables(create_model('tiny_efficientnet', num_classes=10))
  save_weights(path, config, variables)
  return path, variables


def convert(*arguments):
  return cli.main(['convert', *map(str, arguments)])


def assert_same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def test_folder_and_back(workdir, tmp_path, capsys):
  source, variables = workdir
  assert convert(source, tmp_path / 'folder') == 0
  assert convert(tmp_path / 'folder', tmp_path / 'back') == 0
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 2
  assert 'max rel 0.00e+00' in lines[0] and 'not with PyTorch: timm has no such' in lines[0]
  config, back = load_weights(str(tmp_path / 'back'))
  assert_same(back, variables)
  assert config['model']['name'] == 'tiny_efficientnet' and config['model']['num_classes'] == 10
  assert config['data']['image_size'] == 32 and config['data']['mean'] == [0.5, 0.5, 0.5]
  assert config['data']['interpolation'] == 'bilinear'


def test_single_file_and_back(workdir, tmp_path, capsys):
  source, variables = workdir
  file = tmp_path / 'w.safetensors'
  assert convert(source, file) == 0
  assert len(read_state_dict(str(file))) == 84
  assert convert(file, tmp_path / 'back', '--model=tiny_efficientnet') == 0
  assert 'has no preprocessing' in capsys.readouterr().out
  config, back = load_weights(str(tmp_path / 'back'))
  assert config['model']['num_classes'] == 10  # as in the file
  assert_same(back, variables)


def test_other_dialect(tmp_path):
  model = create_model('tiny_efficientnet', attention='se')
  config = get_config().to_dict()
  config['model'] |= {'name': 'tiny_efficientnet', 'attention': {'kind': 'se'}}
  config['data']['image_size'] = 32
  save_weights(tmp_path / 'w', config, random_variables(model))
  assert convert(tmp_path / 'w', tmp_path / 'w.safetensors', '--dialect=lukemelas') == 0
  assert '_blocks.0._se_reduce.bias' in read_state_dict(str(tmp_path / 'w.safetensors'))


@pytest.mark.parametrize(('arguments', 'message'), [
  (('nowhere', 'out'), 'nowhere: no such file or directory'),
  (('w.safetensors', 'out'), 'does not say which network it is; give --model=NAME'),
  (('w.safetensors', 'out', '--model=tiny_eficientnet'), "Did you mean 'tiny_efficientnet'?"),
  (('w.safetensors', 'out', '--model=efficientnet_lite0'), 'missing'),
  (('w.safetensors', 'out', '--model=tiny_efficientnet', '--dialect=lukemelas'), 'no name for'),
  (('w.safetensors', 'w2.safetensors', '--model=tiny_efficientnet'), 'TARGET must be a directory'),
  (('w.safetensors', 'full', '--model=tiny_efficientnet'), 'is not empty'),
  (('cut.safetensors', 'out', '--model=tiny_efficientnet'), 'not a complete safetensors file'),
  (('full', 'out'), 'has neither checkpoints of a training nor the config.json'),
  (('full', 'full'), 'is SOURCE; give another'),
  (('w.safetensors', 'out', '--weights=emma'), "Did you mean 'ema'?"),
  (('w.safetensors', 'out', '--tolerance=0'), '--tolerance=0.0 must be above 0'),
  (('WORKDIR', 'out', '--model=tiny_efficientnet'), 'leave --model out'),
  (('WORKDIR', 'full'), "holds 'note.txt'"),
])
def test_mistakes_are_one_line_and_write_nothing(
  arguments, message, workdir, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  model = create_model('tiny_efficientnet', num_classes=10)
  write_state_dict('w.safetensors', to_torch(model, workdir[1]))
  content = (tmp_path / 'w.safetensors').read_bytes()
  (tmp_path / 'cut.safetensors').write_bytes(content[:-100])
  (tmp_path / 'full').mkdir()
  (tmp_path / 'full' / 'note.txt').touch()
  arguments = [str(workdir[0]) if argument == 'WORKDIR' else argument for argument in arguments]
  assert convert(*arguments) == 2
  error = capsys.readouterr().err
  assert message in error and len(error.splitlines()) == 1
  assert not (tmp_path / 'out').exists() and not is_checkpoint('full')
  assert sorted(path.name for path in tmp_path.iterdir()) == [
    'cut.safetensors', 'full', 'w.safetensors'
  ]
