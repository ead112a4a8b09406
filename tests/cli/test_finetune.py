"""The command `finetune`: what it takes from weights and folder, the same run typed, mistakes."""

import json
import shutil
import types

import numpy as np
import pytest
from PIL import Image

from ecanet_jax import cli
from ecanet_jax.cli import devices
from ecanet_jax.cli.config import load_config
from ecanet_jax.cli.finetune import default_workdir
from ecanet_jax.cli.finetune.defaults import PRESETS, fit
from ecanet_jax.config import schema
from ecanet_jax.config.trees import differences
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.training.trainer import Trainer
from tests.support import weights_folder
from tests.support.runs import assert_same_run

CLASSES = ('blue', 'green', 'red')


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """Weights, images of three classes, and what the command left and printed."""
  root = tmp_path_factory.mktemp('finetune')
  weights_folder.write(root / 'weights')
  random = np.random.RandomState(0)
  for label, name in enumerate(CLASSES):
    (root / 'images' / name).mkdir(parents=True)
    for number in range(6):
      image = random.randint(0, 99, (40, 40, 3), np.uint8)
      image[..., 2 - label] += 150
      Image.fromarray(image).save(root / 'images' / name / f'{number}.png')
  paths = {name: str(root / name) for name in ('weights', 'images')}
  return types.SimpleNamespace(root=root, **paths)


@pytest.fixture(autouse=True)
def devices_of_the_tests(monkeypatch):
  monkeypatch.setattr(devices, 'start', lambda args: None)


@pytest.fixture(scope='module')
def tuned(made):
  """The workdir of a fine-tuning of one epoch, and its config."""
  workdir = made.root / 'run'
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(devices, 'start', lambda args: None)
    assert command(made, f'--workdir={workdir}') == 0
  return workdir, json.loads((workdir / 'config.json').read_text())


def command(made, *more):
  return cli.main(['finetune', made.weights, made.images, '--epochs=1', *more])


def test_what_is_known_is_not_asked_for(tuned):
  _, config = tuned
  expected = {key: list(value) if isinstance(value, tuple) else value
              for key, value in weights_folder.PREPROCESSING.items()}
  assert {key: config['data'][key] for key in expected} == expected
  assert (config['model']['name'], config['model']['num_classes']) == ('tiny_efficientnet', 3)


def test_what_it_leaves(tuned):
  workdir, _ = tuned
  (report,) = (workdir / 'evaluation').glob('*.json')
  assert report.with_suffix('.confusion.png').read_bytes().startswith(b'\x89PNG')
  named = json.loads(report.read_text())['classes']
  assert [entry['name'] for entry in named] == list(CLASSES)
  assert (workdir / 'export' / 'model.safetensors').exists()
  assert (workdir / 'split.csv').read_text().count(',val\n') == 3


def test_typed_in_full_it_is_the_same_run(made, tuned, tmp_path):
  workdir, found = tuned
  typed = {
    'model.name': 'tiny_efficientnet', 'model.num_classes': 3, 'init.weights': made.weights,
    'data.data_dir': made.images, 'batch_size': 8, 'epochs': 1.0, 'eval_epochs': 0.1,
    'save_epochs': 0.1, 'schedule.warmup_epochs': 0.1,
    **{f'data.{key}': value for key, value in weights_folder.PREPROCESSING.items()},
  }
  config = load_config('finetune', [f'--config.{key}={value}' for key, value in typed.items()])
  Trainer(config, tmp_path, typed).run()
  assert not differences(found, json.loads((tmp_path / 'config.json').read_text()))
  assert_same_run(tmp_path, workdir)


def test_the_same_command_with_new_images(made, tuned, capsys):
  workdir, _ = tuned
  before = (workdir / 'split.csv').read_text()
  new = made.root / 'images' / 'red' / 'new.png'
  new.write_bytes((made.root / 'images' / 'red' / '0.png').read_bytes())
  try:
    assert command(made, f'--workdir={workdir}') == 0
  finally:
    new.unlink()
  out, err = capsys.readouterr()
  assert 'nothing to do: ' in out and f'predict: ecanet_jax predict {workdir} ' in out
  assert 'they are training images: red/new.png' in err
  assert "the config is not the checkpoint's" not in err
  assert (workdir / 'split.csv').read_text() == before


def test_without_its_split_it_warns(made, tuned, capsys):
  workdir, _ = tuned
  text = (workdir / 'split.csv').read_text()
  (workdir / 'split.csv').unlink()
  try:
    assert command(made, f'--workdir={workdir}') == 0
  finally:
    (workdir / 'split.csv').write_text(text)
  assert f'{workdir} has no split.csv any more' in capsys.readouterr().err


def test_a_training_that_resumes_takes_its_own_values(made, tuned, heard):
  workdir, found = tuned
  config = load_config('finetune', [f'--config.data.data_dir={made.images}'])
  trainer = Trainer(config, workdir)
  assert (config.model.name, trainer.config.model.name) == (
    schema.get_config().model.name, 'tiny_efficientnet'
  )
  assert trainer.config.init.weights == made.weights and trainer.config.model.num_classes == 3
  assert list(trainer.config.data.mean) == found['data']['mean']
  assert f'data.image_size=64, of {workdir / "config.json"}' in heard.text


def test_a_class_that_is_added_is_no_new_classifier(made, tuned):
  workdir, _ = tuned
  (made.root / 'images' / 'violet').mkdir()
  try:
    image = (made.root / 'images' / 'red' / '0.png').read_bytes()
    (made.root / 'images' / 'violet' / '0.png').write_bytes(image)
    config = load_config('finetune', [f'--config.data.data_dir={made.images}'])
    with pytest.raises(UserError, match='class'):
      Trainer(config, workdir)
  finally:
    shutil.rmtree(made.root / 'images' / 'violet')


def test_predict_knows_that_a_class_has_another_name(made, tuned, capsys):
  workdir, _ = tuned
  old, new = (made.root / 'images' / name for name in ('red', 'crimson'))
  old.rename(new)
  command = ['predict', str(workdir), str(new / '0.png')]
  try:
    assert cli.main(command) == 2
    err = capsys.readouterr().err
    assert "was trained with other classes than the data have: class" in err
    assert "gone: 'red'; new: 'crimson'. If they mean the same, add --accept_changes." in err
    assert cli.main([*command, '--accept_changes']) == 0
    capsys.readouterr()
    elsewhere = made.root / '0.png'
    elsewhere.write_bytes((new / '0.png').read_bytes())
    assert cli.main(['predict', str(workdir), str(elsewhere)]) == 0
  finally:
    new.rename(old)
  assert cli.main(['predict', str(workdir), str(old / '0.png')]) == 0


def test_mistakes_leave_nothing(made, tuned, tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(tmp_path)
  other, file = tmp_path / 'other', tmp_path / 'w.safetensors'
  weights_folder.write(other, seed=1)
  file.write_bytes(b'')
  for arguments, text in (
    ((f'{tmp_path}/none', made.images), 'none: no such file or directory.'),
    ((str(file), made.images), 'does not name its network; give --config.model.name=NAME.'),
    ((made.weights, f'{tmp_path}/none'), 'is not a folder'),
    ((made.weights, made.images, '--preset=heads'), "Did you mean 'head'?"),
    ((made.weights, made.images, '--config.init.weights=x'), 'is the argument WEIGHTS; leave'),
    ((str(other), made.images, f'--workdir={tuned[0]}'), 'has a training of other weights, '),
  ):
    before = sorted(tmp_path.iterdir())
    assert cli.main(['finetune', *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith('error: ') and text in error
    assert sorted(tmp_path.iterdir()) == before


def test_default_workdir():
  assert default_workdir('hf-hub:timm/b0.in1k', 'data/my pets/', 'head') == (
    'runs/finetune-my-pets-b0.in1k-head'
  )


@pytest.mark.parametrize(('images', 'given', 'batch', 'epochs', 'evaluations'), [
  (6, {}, 8, 200.0, 20.0), (96, {}, 16, 34.0, 3.4), (5000, {}, 64, 30.0, 3.0),
  (96, {'batch_size': 32}, 32, 67.0, 6.7), (96, {'epochs': 2.0}, 16, 2.0, 0.2),
  (96, {'epochs': 0.0, 'steps': 12}, 16, 0.0, 0.2),
])
def test_the_number_of_images_decides(monkeypatch, images, given, batch, epochs, evaluations):
  info = types.SimpleNamespace(train=types.SimpleNamespace(num_examples=images))
  monkeypatch.setattr('ecanet_jax.data.open', lambda config: types.SimpleNamespace(info=info))
  config = load_config('finetune', [f'--config.{key}={value}' for key, value in given.items()])
  fit(config, given)
  assert (config.batch_size, config.epochs) == (batch, epochs)
  assert config.eval_epochs == config.save_epochs == pytest.approx(evaluations)
  assert config.schedule.warmup_epochs <= 1


@pytest.mark.parametrize('preset', PRESETS.values(), ids=list(PRESETS))
def test_presets_have_keys_of_the_config(preset):
  config = schema.get_config()
  config.update_from_flattened_dict(preset)
  schema.check(config)


def test_a_file_needs_weights_that_exist():
  with pytest.raises(UserError, match='no such file'):
    Trainer(load_config('finetune', ['--config.init.weights=none']), 'runs/none')
