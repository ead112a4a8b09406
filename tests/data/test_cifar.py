"""CIFAR-10 through the builder of TFDS, from files of its own format to a trained network."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from configs import cifar
from ecanet_jax import data
from ecanet_jax.models import create_from_config
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.training.trainer import Trainer
from tests.support.cifar_archives import NAMES, write_cifar10
from tests.support.prepare import run_prepare


@pytest.mark.parametrize(('which', 'name', 'classes', 'stride'), [
  ('resnet18', 'eca_resnet18', 10, 1), ('b0_100', 'eca_efficientnet_b0', 100, 1),
])
def test_the_recipes_see_small_images_whole(which, name, classes, stride):
  config = cifar.get_config(which)
  model = create_from_config(config.model)
  assert (config.model.name, model.num_classes, model.stem_stride) == (name, classes, stride)
  assert config.data.name == f'cifar{classes}'


def test_unknown_training():
  with pytest.raises(UserError, match=r"unknown training of cifar.py 'b1'. Did you mean 'b0_100'"):
    cifar.get_config('b1')


@pytest.mark.slow
def test_from_the_archive_to_a_trained_network(tmp_path, monkeypatch, capsys):
  expected = write_cifar10(tmp_path / 'archive', per_file=40)
  monkeypatch.setattr(
    tfds.download.DownloadManager, 'download_and_extract',
    lambda self, url: str(tmp_path / 'archive'),
  )
  assert run_prepare('--dataset=cifar10', f'--data_dir={tmp_path / "data"}') == 0
  out = capsys.readouterr().out
  assert 'cifar10 train: 200 images, 10 of 10 classes' in out
  assert 'cifar10 test: 40 images, 10 of 10 classes' in out
  config = cifar.get_config('resnet18')
  config.data.data_dir = str(tmp_path / 'data')
  config.batch_size, config.epochs, config.schedule.warmup_epochs = 40, 6.0, 1.0
  config.model.planes = config.model.stem_width = 4
  config.ema.decay, config.log_steps, config.tensorboard = 0.5, 5, False
  config.eval_epochs = config.save_epochs = 0.0
  opened = data.open(config)
  assert opened.info.label_names == NAMES
  (batch,) = opened.eval()[0]
  seen = sorted((i.tobytes(), k) for i, k in zip(batch['image'], batch['label']))
  assert seen == sorted((i.tobytes(), k) for i, k in zip(expected['image'], expected['label']))
  metrics = Trainer(config, tmp_path / 'run').run()
  assert metrics['seen'] == 40 and np.isfinite(metrics['loss'])
  assert metrics['top1'] > 0.5  # the classes are colours
