"""Training and evaluation streams of every source: exact, complete, the same on any hosts."""

import itertools
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ecanet_jax.data
from ecanet_jax import data
from ecanet_jax.data import shuffling
from ecanet_jax.data.sources import in_memory
from ecanet_jax.runtime.errors import UserError

KINDS = ('tfrecord', 'digits_tfrecord', 'array_record', 'folder', 'digits', 'synthetic')


def take(config, start, count, **hosts):
  return list(itertools.islice(data.train_batches(config, start, **hosts), count))


def assert_same(left, right):
  assert len(left) == len(right)
  for one, other in zip(left, right):
    assert one.keys() == other.keys()
    for name in one:
      np.testing.assert_array_equal(one[name], other[name])


@pytest.fixture
def no_network(monkeypatch):
  def refuse(*args):
    raise AssertionError(f'network used: {args}')

  monkeypatch.setattr(socket.socket, 'connect', refuse)
  monkeypatch.setattr(socket, 'getaddrinfo', refuse)


@pytest.mark.parametrize('kind', KINDS)
def test_stream_from_a_step_is_the_tail_of_the_stream(configure, kind, no_network):
  config = configure(kind)
  whole = take(config, 0, 11)  # three epochs of the small sets
  for batch in whole:
    assert batch['image'].shape == (4, 16, 16, 3) and batch['image'].dtype == np.uint8
    assert batch['label'].shape == (4,) and batch['label'].dtype == np.int32
  for start in (3, 7):
    assert_same(take(config, start, 11 - start), whole[start:])
  config.seed = 1
  assert any(not np.array_equal(a['image'], b['image']) for a, b in zip(whole, take(config, 0, 3)))


@pytest.mark.parametrize(
  ('kind', 'num_hosts'),
  [('array_record', 4), ('folder', 2), ('digits', 2), ('digits', 4), ('synthetic', 2)],
)
def test_batches_do_not_depend_on_the_number_of_hosts(configure, kind, num_hosts):
  config = configure(kind, batch_size=8)
  assert data.describe(config).index_addressable
  hosts = [take(config, 1, 4, host=host, num_hosts=num_hosts) for host in range(num_hosts)]
  joined = [
    {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for parts in zip(*hosts)
  ]
  assert_same(joined, take(config, 1, 4))


def test_hosts_of_tfrecord_read_different_images(configure):
  config = configure('digits_tfrecord', batch_size=64, image_size=8)
  config.data.crop, config.data.flip, config.data.crop_fraction = 'center', False, 1.0
  assert not data.describe(config).index_addressable
  steps = 1437 // 2 // 32
  seen = []
  for host in range(2):
    batches = take(config, 0, steps, host=host, num_hosts=2)
    seen.append(np.concatenate([batch['image'] for batch in batches]).reshape(steps * 32, -1))
  unique = len(np.unique(np.concatenate(seen), axis=0))
  images = np.concatenate([part['image'] for part in in_memory.digits()])
  all_unique = len(np.unique(images, axis=0))
  assert unique >= len(seen[0]) * 2 - (1797 - all_unique)
  again = take(config, steps, 2, host=1, num_hosts=2)
  assert not np.array_equal(again[0]['image'].reshape(32, -1), seen[1][:32])  # another order


@pytest.mark.parametrize(
  ('kind', 'num_hosts', 'rows'),
  [(kind, *hosts) for kind in KINDS for hosts in ((1, 3), (3, 2))]
  + [('tfrecord', 8, 1), ('folder', 6, 1)],  # more hosts than images
)
def test_evaluation_counts_every_image_once(configure, kind, num_hosts, rows, no_network):
  config = configure(kind)
  info = data.describe(config)
  if info.eval.num_examples > 100:
    rows *= 16
  everything, steps_seen = [], set()
  for host in range(num_hosts):
    batches, steps = data.eval_batches(
      config, host=host, num_hosts=num_hosts, batch_size=rows * num_hosts
    )
    batches = list(batches)
    assert len(batches) == steps
    steps_seen.add(steps)
    for batch in batches:
      assert batch['image'].shape == (rows, 16, 16, 3) and batch['mask'].dtype == bool
      assert not batch['image'][~batch['mask']].any()
      everything += list(zip(batch['image'][batch['mask']], batch['label'][batch['mask']]))
  assert len(steps_seen) == 1
  assert len(everything) == info.eval.num_examples
  reference, _ = data.eval_batches(config, batch_size=info.eval.num_examples)
  reference = next(iter(reference))
  assert reference['mask'].all()
  expected = sorted((i.tobytes(), int(k)) for i, k in zip(reference['image'], reference['label']))
  assert sorted((image.tobytes(), int(label)) for image, label in everything) == expected


def test_an_epoch_has_every_image_once():
  keys, indices = shuffling.positions(11, seed=3, start=0, count=33)
  for epoch in range(3):
    assert sorted(indices[11 * epoch : 11 * epoch + 11]) == list(range(11))
  assert len(set(keys)) == 3
  np.testing.assert_array_equal(shuffling.positions(11, 3, 9, 5)[1], indices[9:14])
  assert not np.array_equal(shuffling.permutation(1000, 0, 0), shuffling.permutation(1000, 1, 0))
  # Frozen: an order that changes would break the resumption of every run.
  assert shuffling.permutation(8, 0, 0).tolist() == [1, 4, 2, 3, 0, 6, 7, 5]
  assert shuffling.epoch_key(0, 0) == 7896617691693857887


def test_uniform_is_uniform_and_stateless():
  keys = np.full(5000, shuffling.epoch_key(0, 0))
  draws = shuffling.uniform(keys, np.arange(5000), 3)
  assert draws.min() >= 0 and draws.max() < 1
  np.testing.assert_allclose(draws.mean(0), 0.5, atol=0.02)
  assert np.abs(np.corrcoef(draws.T) - np.eye(3)).max() < 0.05
  np.testing.assert_array_equal(draws[7:9], shuffling.uniform(keys[7:9], np.arange(7, 9), 3))


def test_describe(configure):
  info = data.describe(configure('tfrecord'))
  assert (info.train.num_examples, info.eval.num_examples, info.num_classes) == (15, 7, 1000)
  assert info.label_names[0] == 'n01440764'
  info = data.describe(configure('folder'))
  assert (info.train.num_examples, info.eval.num_examples) == (11, 5)
  assert info.label_names == ('cat', 'dog')
  info = data.describe(configure('digits'))
  assert (info.train.num_examples, info.eval.num_examples, info.num_classes) == (1437, 360, 10)


def test_sub_splits_of_tfds(configure):
  config = configure('tfrecord')
  config.data.train_split, config.data.eval_split = 'train[:60%]', 'train[60%:]'
  info = data.describe(config)
  assert (info.train.num_examples, info.eval.num_examples) == (9, 6)
  batches, _ = data.eval_batches(config)
  assert sum(batch['mask'].sum() for batch in batches) == 6


def test_memory_needs_no_tensorflow():
  program = """
import sys
sys.modules['tensorflow'] = sys.modules['tensorflow_datasets'] = None
from ecanet_jax.config import schema
from ecanet_jax import data
config = schema.get_config()
config.batch_size, config.data.source, config.data.image_size = 8, 'memory', 16
for config.data.name in ('digits', 'synthetic'):
  data.describe(config)
  next(data.train_batches(config, 3))
  list(data.eval_batches(config)[0])
"""
  root = Path(ecanet_jax.data.__file__).parents[2]
  subprocess.run([sys.executable, '-c', program], check=True, cwd=root)


def test_synthetic_can_be_learnt(configure):
  batches, _ = data.eval_batches(configure('synthetic'), batch_size=200)
  train = in_memory.load('synthetic', 'train', 16, 'bicubic')
  means = [train['image'][train['label'] == label].mean(0) for label in range(10)]
  batch = next(iter(batches))
  distance = [((batch['image'] - mean) ** 2).sum((1, 2, 3)) for mean in means]
  assert np.mean(np.argmin(distance, 0) == batch['label']) > 0.95


def test_only_stateless_random_operations():
  banned = re.compile(r'tf\.random\.(?!stateless_)|tf\.image\.random_|np\.random\.(rand|uniform)\b')
  for path in Path(ecanet_jax.data.__file__).parent.rglob('*.py'):
    text = path.read_text()
    assert not banned.search(text), path
    for call in re.findall(r'\.shuffle\(([^)]*)\)', text):
      assert 'seed=' in call, path


@pytest.mark.parametrize(
  ('key', 'value', 'message'),
  [
    ('source', 'tfdss', "unknown source .* 'tfdss'. Did you mean 'tfds'"),
    ('name', 'digit', "unknown set in memory .* 'digit'. Did you mean 'digits'"),
    ('train_split', 'trian', "unknown split .* 'trian'. Did you mean 'train'"),
    ('eval_split', 'valid', "unknown split .* 'valid'. Did you mean 'validation'"),
    ('crop', 'incepton', "unknown crop .* 'incepton'. Did you mean 'inception'"),
    ('interpolation', 'cubic', "unknown interpolation .* 'cubic'. Did you mean 'bicubic'"),
    ('image_size', 0, 'data.image_size=0 must be at least 1 pixel'),
  ],
)
def test_wrong_settings(configure, key, value, message):
  config = configure('digits')
  config.data[key] = value
  with pytest.raises(UserError, match=message):
    data.describe(config)


@pytest.mark.parametrize('kind', ['digits', 'tfrecord', 'array_record', 'folder'])
def test_batch_size_that_hosts_cannot_share(configure, kind):
  with pytest.raises(UserError, match=r'batch_size=4 must be a positive multiple of .* 3'):
    data.train_batches(configure(kind), 0, host=0, num_hosts=3)


def test_host_and_step_out_of_range(configure):
  with pytest.raises(UserError, match='host 2 is not one of 2 hosts'):
    data.train_batches(configure('digits'), 0, host=2, num_hosts=2)
  with pytest.raises(UserError, match='start_step=-1'):
    data.train_batches(configure('digits'), -1)


def test_tfrecord_batch_larger_than_the_split(configure):
  with pytest.raises(UserError, match='batch_size=16 is larger than the 15 images'):
    next(data.train_batches(configure('tfrecord', batch_size=16), 0))


@pytest.mark.parametrize('kind', KINDS)
def test_label_counts_are_those_of_the_images(configure, kind):
  config, whole = configure(kind), configure(kind)
  whole.data.eval_split = whole.data.train_split
  info = data.describe(config)
  seen = np.zeros(info.num_classes, int)
  for batch in data.eval_batches(whole, batch_size=64)[0]:
    np.add.at(seen, batch['label'][batch['mask']], 1)
  assert seen.sum() == info.train.num_examples
  np.testing.assert_array_equal(data.label_counts(config), seen)


@pytest.mark.parametrize('label', [-1, 10])
def test_a_label_that_is_no_class(configure, monkeypatch, label):
  config = configure('digits')
  train = in_memory.load('digits', 'train', 8, config.data.interpolation)  # as they are held
  monkeypatch.setitem(train, 'label', np.full_like(train['label'], label))
  text = f'has an image with label {label}; labels must be from 0 to 9. Take another data.train'
  with pytest.raises(UserError, match=text):
    next(data.train_batches(config, 0))
  with pytest.raises(UserError, match=text):
    data.label_counts(config)
