"""Broken training images: counted, named, replaced by the same ones; damaged records end it."""

import itertools
import logging
import shutil

import numpy as np
import pytest

from ecanet_jax import data
from ecanet_jax.config import schema
from ecanet_jax.data import shuffling
from ecanet_jax.runtime.errors import UserError
from tests.support.image_folders import write_jpeg_folder
from tests.support.prepare import run_prepare

pytest.importorskip('tensorflow')

IMAGES, BROKEN = 50, (3, 4, 31)  # two in a row


def configure(root, max_bad):
  config = schema.get_config()
  config.batch_size, config.data.source, config.data.data_dir = 10, 'folder', str(root)
  config.data.eval_split, config.data.image_size, config.data.max_bad = 'val', 8, max_bad
  config.data.decode_threads = 2
  return config


@pytest.fixture(scope='module')
def images(tmp_path_factory):
  root = tmp_path_factory.mktemp('images')
  write_jpeg_folder(root, IMAGES, BROKEN)
  return root


@pytest.fixture
def warnings(caplog, monkeypatch):
  monkeypatch.setattr(logging.getLogger('ecanet_jax'), 'propagate', True)
  return caplog


@pytest.mark.slow
def test_the_next_image_takes_the_place(images, tmp_path, warnings):
  config = configure(images, max_bad=0.06)
  batches = list(data.open(config).train(0, 10))  # two epochs
  said = [record.getMessage() for record in warnings.records]
  assert len(said) == 4 and said[-1].startswith('3 of 50 training images could not be decoded and ')
  assert all(f'{number:04}.jpg' in said[-1] for number in BROKEN)
  # The order of the files is by class: even numbers, then odd ones.
  paths = [*range(0, IMAGES, 2), *range(1, IMAGES, 2)]
  keys, indices = shuffling.positions(IMAGES, config.seed, 0, 2 * IMAGES)
  labels = np.concatenate([batch['label'] for batch in batches])
  pixels = np.concatenate([batch['image'] for batch in batches])
  # What the stream would be if the spare image lay where the broken one does.
  shutil.copytree(images, tmp_path / 'set')
  folder = sorted((tmp_path / 'set' / 'train').rglob('*.jpg'))
  broken = [place for place, number in enumerate(paths) if number in BROKEN]
  for place in reversed(broken):
    shutil.copyfile(folder[place + 1], folder[place])
  config.data.data_dir, config.data.max_bad = str(tmp_path / 'set'), 0.0
  expected = list(data.open(config).train(0, 10))
  np.testing.assert_array_equal(pixels, np.concatenate([batch['image'] for batch in expected]))
  of = np.where(np.isin(indices, broken), (indices + 1) % IMAGES, indices)
  np.testing.assert_array_equal(labels, (np.array(paths)[of] % 2))
  config.data.data_dir, config.data.max_bad = str(images), 0.06
  for step, batch in zip(range(4, 10), data.open(config).train(4, 6), strict=True):
    np.testing.assert_array_equal(batch['image'], batches[step]['image'])  # from any step on
  halves = [list(data.open(config).train(0, 10, host=host, num_hosts=2)) for host in (0, 1)]
  for batch, one, other in zip(batches, *halves, strict=True):  # for any number of hosts
    np.testing.assert_array_equal(batch['image'], np.concatenate([one['image'], other['image']]))


def test_more_than_allowed_end_it(images):
  config = configure(images, max_bad=0.04)
  with pytest.raises(UserError, match=r'3 of 50 files cannot be read as images'):
    data.open(config).check()
  with pytest.raises(UserError) as error:
    list(data.open(config).train(0, 5))
  assert 'the image cannot be decoded: ' in str(error.value)
  assert str(error.value).endswith('That is 3 of 50 and data.max_bad=0.04 allows 2.')
  config.data.max_bad = 0.06
  data.open(config).check()
  config.data.max_bad = -1.0
  with pytest.raises(UserError, match=r'^data\.max_bad=-1\.0 must be from 0 to 1\.$'):
    data.open(config).check()


def test_evaluation_refuses(images):
  config = configure(images, max_bad=1.0)
  config.data.eval_split = 'train'
  with pytest.raises(UserError, match=r'\.jpg: the image cannot be decoded: '):
    list(data.open(config).eval()[0])


@pytest.mark.slow
def test_tfrecord_takes_the_next_of_the_batch(imagenet, tmp_path, monkeypatch, warnings):
  from ecanet_jax.data.tfdata import decode, tf_import

  config = schema.get_config()
  config.batch_size, config.data.data_dir, config.data.image_size = 5, str(imagenet.tfrecord), 8
  config.data.max_bad = 0.1
  whole = list(data.open(config).train(0, 6))
  seen = data.open(config).info.train.num_examples
  assert seen == 15
  real = decode.decode_crop

  def sometimes(content, choose, exif):
    size = decode.tf.strings.length(content)
    check = decode.tf.debugging.Assert(size != smallest, ['it is broken'])
    with decode.tf.control_dependencies([check]):
      return real(content, choose, exif)

  from ecanet_jax.data.sources import tfds

  builder = tfds.open_builder('imagenet2012', str(imagenet.tfrecord))
  sizes = [len(r['data']) for r in tfds.read_records(builder, 'train').as_numpy_iterator()]
  smallest = min(sizes)
  assert sizes.count(smallest) == 1
  monkeypatch.setattr(decode, 'decode_crop', sometimes)
  monkeypatch.setattr(tf_import, '_traced', {})
  found = list(data.open(config).train(0, 6))
  assert '1 of 15 training images could not be decoded' in warnings.records[-1].getMessage()
  changed = 0
  for one, other in zip(whole, found, strict=True):
    for row in range(5):
      if not np.array_equal(one['image'][row], other['image'][row]):
        changed += 1
        following = (row + 1) % 5
        np.testing.assert_array_equal(other['image'][row], one['image'][following])
        assert other['label'][row] == one['label'][following]
  assert changed == 2  # once in each of the two epochs
  config.batch_size = 1
  with pytest.raises(UserError, match=r'no other image of the batch can be decoded\.$'):
    list(data.open(config).train(0, 15))


def damage(kind: str, content: bytes) -> bytes:
  """A TFRecord file with a changed payload or length, or without its last record."""
  first = int.from_bytes(content[:8], 'little')
  match kind:
    case 'payload':
      return content[:40] + bytes([content[40] ^ 1]) + content[41:]
    case 'length':
      return bytes([content[0] ^ 4]) + content[1:]
    case 'cut':
      places = [0]
      while places[-1] < len(content):
        length = int.from_bytes(content[places[-1] :][:8], 'little')
        places.append(places[-1] + 8 + 4 + length + 4)
      assert first and places[-1] == len(content)
      return content[: places[-2]]


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['payload', 'length', 'cut'])
def test_damaged_tfrecord(imagenet, tmp_path, kind):
  shutil.copytree(imagenet.tfrecord, tmp_path / 'set')
  (path,) = (tmp_path / 'set').rglob('imagenet2012-train.tfrecord*')
  path.write_bytes(damage(kind, path.read_bytes()))
  (path,) = (tmp_path / 'set').rglob('imagenet2012-validation.tfrecord*')
  path.write_bytes(damage(kind, path.read_bytes()))
  config = schema.get_config()
  config.batch_size, config.data.data_dir, config.data.image_size = 5, str(tmp_path / 'set'), 8
  config.data.max_bad = 1.0
  calls = (
    lambda: list(itertools.islice(data.open(config).train(0, 9), 9)),
    lambda: list(data.open(config).eval()[0]),
    lambda: run_prepare('--dataset=imagenet2012', f'--data_dir={tmp_path / "set"}',
                        '--verify_only'),
  )
  for call in calls:
    with pytest.raises(UserError) as error:
      call()
    assert '\n' not in str(error.value)
    print(error.value)


@pytest.mark.slow
def test_damaged_array_record(imagenet, tmp_path):
  shutil.copytree(imagenet.array_record, tmp_path / 'set')
  (path,) = (tmp_path / 'set').rglob('imagenet2012-train.array_record*')
  content = bytearray(path.read_bytes())
  for place in range(len(content) // 4, len(content) // 2, 50):
    content[place] ^= 0x55
  path.write_bytes(content)
  config = schema.get_config()
  config.batch_size, config.data.data_dir, config.data.image_size = 5, str(tmp_path / 'set'), 8
  with pytest.raises(UserError) as error:
    list(data.open(config).train(0, 3))
  assert '\n' not in str(error.value)
  print(error.value)
