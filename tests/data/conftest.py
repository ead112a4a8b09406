"""Data sets that are prepared once for all tests of the data."""

import types

import pytest

from ecanet_jax.config import schema
from tests.support.image_folders import write_mixed_folder
from tests.support.imagenet_tars import write_ilsvrc2012_tars
from tests.support.prepare import run_prepare


@pytest.fixture(scope='session')
def imagenet(tmp_path_factory):
  """Small generated imagenet2012 in both formats: .tfrecord, .array_record, .manual (folders)."""
  root = tmp_path_factory.mktemp('imagenet')
  write_ilsvrc2012_tars(root / 'manual', train_per_class=5, val_count=7, seed=0)
  for file_format in ('tfrecord', 'array_record'):
    run_prepare(
      '--dataset=imagenet2012',
      f'--data_dir={root / file_format}',
      f'--manual_dir={root / "manual"}',
      f'--file_format={file_format}',
    )
  return types.SimpleNamespace(
    manual=root / 'manual', tfrecord=root / 'tfrecord', array_record=root / 'array_record'
  )


@pytest.fixture(scope='session')
def digits_dir(tmp_path_factory):
  """The digits, prepared as TFRecord."""
  root = tmp_path_factory.mktemp('digits')
  run_prepare('--dataset=digits', f'--data_dir={root}')
  return root


@pytest.fixture(scope='session')
def folder(tmp_path_factory):
  """Two classes: 11 training and 5 evaluation images of several formats, 20 to 60 pixels."""
  root = tmp_path_factory.mktemp('folder')
  write_mixed_folder(root)
  return root


@pytest.fixture
def configure(imagenet, digits_dir, folder):
  """Returns the function kind -> configuration of small batches and images."""

  def make(kind: str, batch_size: int = 4, image_size: int = 16):
    config = schema.get_config()
    config.batch_size = batch_size
    data = config.data
    data.image_size, data.shuffle_buffer, data.decode_threads = image_size, 8, 2
    match kind:
      case 'tfrecord' | 'array_record':
        data.data_dir = str(getattr(imagenet, kind))
      case 'digits_tfrecord':
        data.name, data.data_dir, data.eval_split = 'digits', str(digits_dir), 'test'
      case 'folder':
        data.source, data.data_dir, data.eval_split = 'folder', str(folder), 'val'
      case 'digits' | 'synthetic':
        data.source, data.name = 'memory', kind
    return config

  return make
