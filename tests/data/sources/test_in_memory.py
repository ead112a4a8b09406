"""Sets in memory: Fashion-MNIST's files, parts of splits, labels."""

import gzip

import numpy as np
import pytest
import tensorflow_datasets as tfds

from ecanet_jax import data
from ecanet_jax.config import schema
from ecanet_jax.data.sources import in_memory
from ecanet_jax.runtime.errors import UserError


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
  info = data.open(config).info
  assert (info.train.num_examples, info.eval.num_examples) == (2000, 300)
  assert info.label_names[9] == 'Ankle boot'
  assert info.label_names == tuple(tfds.builder('fashion_mnist').info.features['label'].names)
  batch = next(data.open(config).eval()[0])
  assert batch['label'].tolist() == [number % 10 for number in range(9700, 9708)]
  assert batch['image'].shape == (8, 32, 32, 3)
  assert (batch['image'][3] == 9703 % 256).all()

  for path in idx_files.iterdir():
    (tmp_path / path.name).write_bytes(path.read_bytes())
  images = tmp_path / 'train-images-idx3-ubyte.gz'
  images.write_bytes(images.read_bytes()[:-1000])
  with pytest.raises(UserError, match=r'train-images-idx3-ubyte.gz cannot be read: Compressed'):
    data.open(configured(str(tmp_path)))
  images.write_bytes((tmp_path / 't10k-images-idx3-ubyte.gz').read_bytes())
  with pytest.raises(UserError, match='is not an idx file of 60000 x 28 x 28 bytes'):
    data.open(configured(str(tmp_path)))
  with pytest.raises(UserError, match=r'no file /none/train-images.*package dataset-fashion'):
    data.open(configured('/none'))


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


def test_synthetic_can_be_learnt(configure):
  batches, _ = data.open(configure('synthetic')).eval(batch_size=200)
  train = in_memory.load('synthetic', 'train', 16, 'bicubic')
  means = [train['image'][train['label'] == label].mean(0) for label in range(10)]
  batch = next(iter(batches))
  distance = [((batch['image'] - mean) ** 2).sum((1, 2, 3)) for mean in means]
  assert np.mean(np.argmin(distance, 0) == batch['label']) > 0.95


@pytest.mark.parametrize('label', [-1, 10])
def test_a_label_that_is_no_class(configure, monkeypatch, label):
  part = {'image': np.zeros((4, 8, 8, 3), np.uint8), 'label': np.full((4,), label, np.int32)}
  monkeypatch.setitem(in_memory.SETS, f'labels_{label}', lambda directory: (part, part))
  config = configure('digits')
  config.data.name = f'labels_{label}'
  dataset = data.open(config)
  text = f'has an image with label {label}; labels must be from 0 to 9. Take another data.train'
  with pytest.raises(UserError, match=text):
    next(dataset.train(0))
  with pytest.raises(UserError, match=text):
    dataset.label_counts()
  with pytest.raises(UserError, match=text):
    dataset.resident()
