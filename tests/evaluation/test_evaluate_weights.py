"""Weights of any form are evaluated, each with the preprocessing that travels with it."""

import json

import pytest

from configs import smoke
from ecanet_jax import create_model
from ecanet_jax.checkpoints.files import load_saved, save_weights
from ecanet_jax.config.trees import plain
from ecanet_jax.evaluation.evaluate_weights import evaluate_weights
from ecanet_jax.evaluation.summary import origin
from ecanet_jax.runtime import sharding
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import to_torch, write_state_dict
from ecanet_jax.weights.export import export
from tests.support.random_variables import random_variables

MEAN = (0.4, 0.5, 0.6)  # not the recipe's


@pytest.fixture(scope='module')
def forms(tmp_path_factory):
  """The same weights as converted weights, as a folder and as a file without preprocessing."""
  root = tmp_path_factory.mktemp('forms')
  config = smoke.get_config()
  config.data.mean = MEAN
  model = create_model('tiny_efficientnet', num_classes=10)
  variables = random_variables(model)
  save_weights(root / 'ours', plain(config), variables)
  export(plain(config), variables, root / 'folder')
  write_state_dict(str(root / 'w.npz'), to_torch(model, variables))
  return root


@pytest.fixture
def evaluated(forms, monkeypatch, capsys):
  mesh = sharding.make_mesh(1)
  monkeypatch.setattr(sharding, 'make_mesh', lambda: mesh)

  def evaluate(name, changes=None, **arguments):
    config = smoke.get_config()
    config.update_from_flattened_dict(changes or {})
    metrics = evaluate_weights(config, forms / name, **arguments)
    assert str(forms / name) in capsys.readouterr().out.splitlines()[0]
    return metrics

  return evaluate


@pytest.mark.slow
def test_every_form_and_every_rule(evaluated):
  own = evaluated('ours')
  assert own['seen'] == 200
  assert evaluated('folder') == own
  assert evaluated('folder', {'data.mean': (0.0, 0.0, 0.0)}) == own  # a recipe's says nothing
  other = evaluated('folder', preprocessing='config')
  assert other['loss'] != own['loss']
  # With the default of its network, which is the recipe's, at the size that the command line says.
  assert evaluated('w.npz', given=['data.image_size']) == other
  assert evaluated('w.npz', {'data.mean': MEAN}, given=['data.image_size', 'data.mean']) == own


def test_views_and_files(evaluated, tmp_path):
  own = evaluated('ours', tta='flip', report=tmp_path)
  path = tmp_path / 'synthetic-test_flip.json'
  assert {file.name for file in tmp_path.iterdir()} == {
    path.name, 'synthetic-test_flip.reliability.png', 'synthetic-test_flip.confusion.png'
  }
  read = json.loads(path.read_text())
  assert read['tta'] == 'flip' and read['weights'].endswith('; mean logits of 2 views')
  assert read['preprocessing']['mean'] == list(MEAN)
  assert {key: read[key] for key in own} == own
  assert sum(entry['seen'] for entry in own['classes']) == 200
  assert sum(entry['correct'] for entry in own['classes']) == own['top1_count']
  assert sum(images for *_, images in own['confused']) == 200 - own['top1_count']


def test_weights_that_were_not_trained_here_have_no_evaluation(forms):
  saved = load_saved(forms / 'ours')
  assert saved.metrics is None and origin(saved.config, saved.metrics) == ('', '')


def test_mistakes(evaluated):
  with pytest.raises(UserError, match=r"unknown preprocessing 'lit'. Did you mean 'lite'"):
    evaluated('ours', preprocessing='lit')
  with pytest.raises(UserError, match=r"augmentation \(--tta\) 'fiv'. Did you mean 'five'"):
    evaluated('ours', tta='fiv')
  with pytest.raises(UserError, match="imagenet_r is for networks of ImageNet's 1,000 classes; ti"):
    evaluated('ours', {'data.source': 'tfds', 'data.name': 'imagenet_r'})
  with pytest.raises(UserError, match='nothing: no such file or directory'):
    evaluated('nothing')
  with pytest.raises(UserError, match=r'is only for files, and .* is a directory; leave it out'):
    evaluated('folder', dialect='lukemelas')


@pytest.mark.slow
def test_program(forms, run):
  done = run(
    'eval.py', '--config=configs/smoke.py', f'--weights_file={forms}/w.npz',
    '--preprocessing=inception', '--config.data.image_size=32',
  )
  line, figures = done.stdout.splitlines()
  assert json.loads(figures)['seen'] == 200 and line.endswith(f'{forms}/w.npz')
  assert (
    'preprocessing inception, but for image_size of the command line: mean (0.5, 0.5, '
    '0.5), std (0.5, 0.5, 0.5), bilinear, centre crop 0.875, 32 px'
  ) in done.stderr
  both = run('eval.py', '--config=configs/smoke.py', code=2)
  assert both.stderr == 'error: give either --workdir=DIR or --weights_file=PATH.\n'


@pytest.mark.parametrize(('flag', 'instead'), [
  ('--preset=tf', '--preset=tf: write --preprocessing=tf instead.'),
  ('--weights=raw', '--weights=raw: write --kind=ema, --kind=raw, or --weights_file=PATH instead.'),
])
def test_renamed_flags(run, flag, instead):
  done = run('eval.py', '--config=configs/smoke.py', '--workdir=none', flag, code=2)
  assert done.stderr == f'error: {instead}\n'
