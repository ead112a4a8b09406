"""TFDS's real imagenet2012 builder on generated archives, through the recipe that ImageNet uses."""

import json

import jax
import pytest
from jax.sharding import AxisType

from configs import eca_b0
from ecanet_jax import cli
from ecanet_jax.evaluation.evaluate_weights import evaluate_weights
from ecanet_jax.runtime import sharding
from ecanet_jax.training.trainer import Trainer
from tests.support.imagenet_tars import write_ilsvrc2012_tars


@pytest.mark.slow
def test_prepares_trains_and_evaluates(tmp_path, monkeypatch, capsys):
  mesh = jax.make_mesh((1,), ('data',), (AxisType.Auto,), devices=jax.devices()[:1])
  monkeypatch.setattr(sharding, 'make_mesh', lambda: mesh)
  write_ilsvrc2012_tars(tmp_path / 'tars', train_per_class=6, val_count=11, seed=0)
  arguments = [f'--data_dir={tmp_path}/data', f'--manual_dir={tmp_path}/tars']
  assert cli.main(['prepare', '--dataset=imagenet2012', *arguments]) == 0
  assert 'imagenet2012 validation: 11 images' in capsys.readouterr().out

  config = eca_b0.get_config()
  config.data.data_dir, config.data.image_size = f'{tmp_path}/data', 32
  config.batch_size, config.epochs, config.schedule.warmup_epochs = 4, 1.0, 0.5
  config.model.name, config.compute_dtype = 'tiny_efficientnet', 'float32'
  Trainer(config, tmp_path / 'run').run()
  trained = capsys.readouterr().out
  assert '11 of 11 images of validation' in trained
  evaluate_weights(config, tmp_path / 'run')
  line, figures = capsys.readouterr().out.splitlines()
  assert json.loads(figures)['seen'] == 11
  assert line.split(' on ')[0] == trained.removeprefix('result: ').split(' on ')[0]


def test_missing_data_names_the_command(run, tmp_path):
  done = run(
    'train.py', '--config=configs/eca_b0.py', f'--workdir={tmp_path}/run',
    f'--config.data.data_dir={tmp_path}/nothing', code=2,
  )
  assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1
  command = 'python -m ecanet_jax prepare --dataset=imagenet2012 --data_dir='
  assert command in done.stderr and 'ILSVRC2012_img_train.tar' in done.stderr
