"""`python -m ecanet_jax convert`: there and back, and what it answers to mistakes."""

import jax
import numpy as np
import pytest
from flax import traverse_util

from ecanet_jax import cli, create_model, load_pretrained
from ecanet_jax.checkpoints.files import is_checkpoint, load_weights, save_weights
from ecanet_jax.config.schema import get_config
from ecanet_jax.data.preprocessing import find_preprocessing
from ecanet_jax.data.summary import DataSummary
from ecanet_jax.inference.training_folder import check_training_folder
from ecanet_jax.weights import (
  read_folder,
  read_state_dict,
  read_weights,
  to_torch,
  write_state_dict,
)
from tests.support.random_variables import random_variables

NAMES = tuple('abcdefghij')


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """A checkpoint of tiny_efficientnet, 10 named classes, at 32 pixels, and its variables."""
  path = tmp_path_factory.mktemp('training') / 'workdir'
  config = get_config().to_dict()
  config['model'] |= {'name': 'tiny_efficientnet', 'num_classes': 10}
  config['data'] |= {'image_size': 32, 'mean': [0.5, 0.5, 0.5], 'interpolation': 'bilinear'}
  variables = random_variables(create_model('tiny_efficientnet', num_classes=10))
  save_weights(path, config, variables, DataSummary(10, NAMES).to_json())
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
  assert len(lines) == 3
  assert 'max abs difference 0.00e+00, max rel 0.00e+00, same top-1 for 100%' in lines[0]
  assert 'not with PyTorch: timm has no such' in lines[0]
  assert 'preprocessing of config.json: mean (0.5, 0.5, 0.5)' in lines[1]
  config, back = load_weights(str(tmp_path / 'back'))
  assert_same(back, variables)
  assert config['model']['name'] == 'tiny_efficientnet' and config['model']['num_classes'] == 10
  assert config['data']['image_size'] == 32 and config['data']['mean'] == [0.5, 0.5, 0.5]
  assert config['data']['interpolation'] == 'bilinear'
  for form in (source, tmp_path / 'folder', tmp_path / 'back'):
    assert read_weights(form).label_names == NAMES


@pytest.mark.parametrize('name', ['w.safetensors', 'w.npz'])
def test_single_file_and_back(workdir, tmp_path, capsys, name):
  source, variables = workdir
  file = tmp_path / name
  assert convert(source, file) == 0
  assert len(read_state_dict(str(file))) == 84
  assert convert(file, tmp_path / 'back', '--model=tiny_efficientnet') == 0
  assert 'preprocessing timm, the default for tiny_efficientnet: mean (0.485' in (
    capsys.readouterr().out
  )
  config, back = load_weights(str(tmp_path / 'back'))
  assert config['model']['num_classes'] == 10  # as in the file
  assert_same(back, variables)


def test_preprocessing_is_stored(workdir, tmp_path, capsys):
  model = create_model('tiny_efficientnet', num_classes=10)
  write_state_dict(str(tmp_path / 'w.npz'), to_torch(model, workdir[1]))
  arguments = ['--model=tiny_efficientnet', '--preprocessing=lite']
  assert convert(tmp_path / 'w.npz', tmp_path / 'ours', *arguments) == 0
  assert 'preprocessing lite: mean (0.498' in capsys.readouterr().out
  assert convert(tmp_path / 'ours', tmp_path / 'folder') == 0
  assert read_folder(tmp_path / 'folder').data == find_preprocessing('lite').data(224)
  assert convert(tmp_path / 'folder', tmp_path / 'again', '--preprocessing=tf') == 2
  assert "preprocessing 'tf': " in capsys.readouterr().err and not (tmp_path / 'again').exists()
  assert convert(tmp_path / 'folder', tmp_path / 'again') == 0
  assert load_weights(tmp_path / 'again')[0]['data']['std'] == [128 / 255] * 3


def test_converted_weights_have_no_folder_of_a_training(workdir):
  check_training_folder(workdir[0], ['photo.png'], NAMES, accept=False)


def changed_arrays(a, b):
  a, b = traverse_util.flatten_dict(a, sep='/'), traverse_util.flatten_dict(b, sep='/')
  assert set(a) == set(b)
  return {key for key in a if a[key].shape != b[key].shape or (a[key] != b[key]).any()}


@pytest.mark.parametrize('through', ['checkpoint', 'folder'])
def test_new_classifier(workdir, tmp_path, capsys, through):
  source, variables = workdir
  if through == 'folder':
    assert convert(source, tmp_path / 'folder') == 0
    source = tmp_path / 'folder'
  assert convert(source, tmp_path / 'new', '--num_classes=7') == 0
  assert 'the classifier of 10 classes is replaced by a new one of 7' in capsys.readouterr().out
  model, found = load_pretrained(tmp_path / 'new')
  assert model.num_classes == 7
  classifier = {'params/classifier/kernel', 'params/classifier/bias'}
  assert changed_arrays(variables, found) == classifier
  kernel = found['params']['classifier']['kernel']
  assert kernel.shape == (32, 7) and kernel.std() > 0
  assert read_weights(tmp_path / 'new').label_names is None


def test_without_pytorch(workdir, tmp_path, run):
  """Both directions in a process where torch and timm cannot be imported."""
  code = (
    "import sys; sys.modules['torch'] = sys.modules['timm'] = None\n"
    'from ecanet_jax import cli\n'
    "for source, target in zip(sys.argv[1:], sys.argv[2:]):\n"
    "  more = ['--model=tiny_efficientnet'] if source.endswith('.safetensors') else []\n"
    "  assert cli.main(['convert', source, target, *more]) == 0\n"
  )
  names = ['folder', 'ours', 'w.safetensors', 'again']
  paths = [str(workdir[0]), *(str(tmp_path / name) for name in names)]
  assert run('-c', code, *paths).stdout.count('not with PyTorch') == 4
  assert_same(load_weights(str(tmp_path / 'again'))[1], workdir[1])
  folder, file = (tmp_path / name for name in ('folder/model.safetensors', 'w.safetensors'))
  assert folder.read_bytes() == file.read_bytes()


def test_widened_kernels(workdir, tmp_path, capsys):
  from ecanet_jax.weights.eca_kernel_size import kernel_sizes

  shapes = lambda state: {key: array.shape for key, array in state.items()}
  model = create_model('tiny_efficientnet', num_classes=10)
  state = to_torch(model, workdir[1])
  for key in [key for key in state if key.endswith('se.conv.weight')]:
    middle = state[key].shape[-1] // 2
    state[key] = state[key][..., middle:middle + 1]
  write_state_dict(str(tmp_path / 'w.safetensors'), state)
  arguments = (tmp_path / 'w.safetensors', tmp_path / 'ours', '--model=tiny_efficientnet')
  assert convert(*arguments) == 2
  assert 'or widen the kernels with --widen' in capsys.readouterr().err
  assert convert(*arguments, '--widen') == 0
  wide = to_torch(model, load_weights(tmp_path / 'ours')[1])
  narrow = to_torch(model, workdir[1])
  assert kernel_sizes(model, shapes(wide)) == kernel_sizes(model, shapes(narrow))


def test_push(workdir, tmp_path, monkeypatch, capsys):
  from ecanet_jax.weights.hub import client

  pushed = []
  monkeypatch.setattr(client, 'check_repository', lambda name: None)
  monkeypatch.setattr(client, 'push_folder', lambda *what: pushed.append(what) or 'https://there')
  assert convert(workdir[0], tmp_path / 'folder', '--push=someone/tiny') == 0
  assert pushed == [(str(tmp_path / 'folder'), 'someone/tiny')]
  assert 'folder -> https://there' in capsys.readouterr().out


def test_other_dialect(tmp_path):
  model = create_model('tiny_efficientnet', attention='se', preset='tf')
  config = get_config().to_dict()
  config['model'] |= {'name': 'tiny_efficientnet', 'attention': {'kind': 'se'}, 'preset': 'tf'}
  config['data']['image_size'] = 32
  save_weights(tmp_path / 'w', config, random_variables(model))
  assert convert(tmp_path / 'w', tmp_path / 'w.safetensors', '--dialect=lukemelas') == 0
  assert '_blocks.0._se_reduce.bias' in read_state_dict(str(tmp_path / 'w.safetensors'))


@pytest.mark.parametrize(('arguments', 'message'), [
  (('nowhere', 'out'), 'nowhere: no such file or directory'),
  (('w.safetensors', 'out'), 'it is of; name it, as convert does by --model=NAME'),
  (('w.safetensors', 'out', '--model=tiny_eficientnet'), "Did you mean 'tiny_efficientnet'?"),
  (('w.safetensors', 'out', '--model=efficientnet_lite0'), 'missing'),
  (('w.safetensors', 'out', '--model=tiny_efficientnet', '--dialect=lukemelas'), 'no name for'),
  (('w.safetensors', 'w2.safetensors', '--model=tiny_efficientnet'), 'give a directory as TARGET'),
  (('w.safetensors', 'full', '--model=tiny_efficientnet'), 'is not empty'),
  (('cut.safetensors', 'out', '--model=tiny_efficientnet'), 'not a complete safetensors file'),
  (('full', 'out'), 'has neither checkpoints of a training nor the config.json'),
  (('full', 'full'), 'is SOURCE; give another TARGET'),
  (('w.safetensors', 'out', '--kind=emma'), "Did you mean 'ema'?"),
  (('w.safetensors', 'out', '--tolerance=0'), '--tolerance=0.0 must be above 0'),
  (('WORKDIR', 'out', '--model=tiny_efficientnet'), 'leave --model out'),
  (('WORKDIR', 'full'), "holds 'note.txt'"),
  (('WORKDIR', 'out', '--preprocessing=tf'), 'leave --preprocessing out'),
  (('WORKDIR', 'out', '--widen'), 'leave --widen out'),
  (('WORKDIR', 'out', '--checkpoint=7'), 'has no step 7. Known: last, best, [0].'),
  (('w.safetensors', 'out', '--checkpoint=best'), '--checkpoint=best is of a training, which w.sa'),
  (('WORKDIR', 'out', '--push=me'), "'me' is not a name of the hub; it must be OWNER/NAME"),
  (('WORKDIR', 'out.npz', '--push=a/b'), '--push=a/b uploads only a timm folder'),
  (('w.safetensors', 'out', '--push=a/b'), '--push=a/b uploads only a timm folder'),
  (('WORKDIR', 'out', '--num_classes=0'), '--num_classes=0 must be at least 1'),
  (('w.safetensors', 'out', '--model=tiny_vgg', '--preprocessing=tff'), "Did you mean 'tf'?"),
  (('w.safetensors', 'out', '--preset=tf'), '--preset=tf: write --preprocessing=tf instead'),
  (('w.safetensors', 'out', '--weights', 'raw'), '--weights=raw: write --kind=raw instead'),
  (('bad.npz', 'out', '--model=tiny_efficientnet'), 'bad.npz is not a complete npz file'),
])
def test_mistakes_are_one_line_and_write_nothing(
  arguments, message, workdir, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  model = create_model('tiny_efficientnet', num_classes=10)
  write_state_dict('w.safetensors', to_torch(model, workdir[1]))
  content = (tmp_path / 'w.safetensors').read_bytes()
  (tmp_path / 'cut.safetensors').write_bytes(content[:-100])
  np.savez(tmp_path / 'bad.npz', a=np.array([{}], dtype=object))
  (tmp_path / 'full').mkdir()
  (tmp_path / 'full' / 'note.txt').touch()
  arguments = [str(workdir[0]) if argument == 'WORKDIR' else argument for argument in arguments]
  assert convert(*arguments) == 2
  error = capsys.readouterr().err
  assert message in error and len(error.splitlines()) == 1
  assert not (tmp_path / 'out').exists() and not is_checkpoint('full')
  assert sorted(path.name for path in tmp_path.iterdir()) == [
    'bad.npz', 'cut.safetensors', 'full', 'w.safetensors', 'w.safetensors.json'
  ]
