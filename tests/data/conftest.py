"""Data sets that are prepared once for all tests of the data."""

import argparse
import pathlib
import types

import numpy as np
import pytest

from ecanet_jax.cli import prepare
from ecanet_jax.config import schema
from tests.support.imagenet_tars import encode, smooth_image, write_ilsvrc2012_tars


def run_prepare(*arguments: str) -> int:
  parser = argparse.ArgumentParser()
  prepare.add_arguments(parser)
  return prepare.run(parser.parse_args(arguments))


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
  write_folder(root)
  return root


def write_folder(root: pathlib.Path) -> None:
  random = np.random.RandomState(0)
  formats = (('jpg', 'JPEG'), ('png', 'PNG'), ('gif', 'GIF'), ('webp', 'WEBP'), ('JPEG', 'JPEG'))
  for split, count in (('train', 11), ('val', 5)):
    for number in range(count):
      extension, file_format = formats[number % len(formats)]
      directory = root / split / ('cat', 'dog')[number % 2]
      directory.mkdir(parents=True, exist_ok=True)
      image = smooth_image(random, *random.randint(20, 61, 2))
      (directory / f'{number}.{extension}').write_bytes(encode(image, file_format))
  (root / 'train' / 'cat' / '.DS_Store').write_bytes(b'hidden')


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
