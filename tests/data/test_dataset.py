"""Training and evaluation batches of every source: exact, complete, the same on any hosts."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ecanet_jax.data
from ecanet_jax import data
from ecanet_jax.data.sources import in_memory
from ecanet_jax.runtime.errors import UserError

KINDS = ('tfrecord', 'digits_tfrecord', 'array_record', 'folder', 'digits', 'synthetic')


def take(config, start, count, **hosts):
  return list(data.open(config).train(start, count, **hosts))


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
  assert data.open(config).info.index_addressable
  hosts = [take(config, 1, 4, host=host, num_hosts=num_hosts) for host in range(num_hosts)]
  joined = [
    {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for parts in zip(*hosts)
  ]
  assert_same(joined, take(config, 1, 4))


def test_hosts_of_tfrecord_read_different_images(configure):
  config = configure('digits_tfrecord', batch_size=64, image_size=8)
  config.data.crop, config.data.flip, config.data.crop_fraction = 'center', False, 1.0
  assert not data.open(config).info.index_addressable
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
  dataset = data.open(config)
  info = dataset.info
  if info.eval.num_examples > 100:
    rows *= 16
  everything, steps_seen = [], set()
  for host in range(num_hosts):
    batches, steps = dataset.eval(
      host=host, num_hosts=num_hosts, batch_size=rows * num_hosts
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
  reference, _ = dataset.eval(batch_size=info.eval.num_examples)
  reference = next(iter(reference))
  assert reference['mask'].all()
  expected = sorted((i.tobytes(), int(k)) for i, k in zip(reference['image'], reference['label']))
  assert sorted((image.tobytes(), int(label)) for image, label in everything) == expected


def test_info(configure):
  info = data.open(configure('tfrecord')).info
  assert (info.train.num_examples, info.eval.num_examples, info.num_classes) == (15, 7, 1000)
  assert info.label_names[0] == 'n01440764'
  info = data.open(configure('folder')).info
  assert (info.train.num_examples, info.eval.num_examples) == (11, 5)
  assert info.label_names == ('cat', 'dog')
  info = data.open(configure('digits')).info
  assert (info.train.num_examples, info.eval.num_examples, info.num_classes) == (1437, 360, 10)


@pytest.mark.parametrize('kind', KINDS)
def test_a_data_set_is_read_many_times(configure, kind):
  """One opened data set gives what a fresh one gives, in any order of calls and at any size."""
  dataset, fresh = data.open(configure(kind)), data.open(configure(kind))
  first = list(dataset.train(0, 3))
  evaluation = list(dataset.eval()[0])
  larger = list(dataset.train(1, 2, image_size=24))
  assert_same(list(dataset.train(0, 3)), first)
  assert_same(list(dataset.eval(batch_size=4)[0]), evaluation)
  assert_same(list(fresh.eval()[0]), evaluation)
  assert_same(list(data.open(configure(kind, image_size=24)).train(1, 2)), larger)
  for batch, expected in zip(larger, first[1:]):  # the order does not depend on the size
    assert batch['image'].shape == (4, 24, 24, 3)
    np.testing.assert_array_equal(batch['label'], expected['label'])


def test_sub_splits_of_tfds(configure):
  config = configure('tfrecord')
  config.data.train_split, config.data.eval_split = 'train[:60%]', 'train[60%:]'
  dataset = data.open(config)
  info = dataset.info
  assert (info.train.num_examples, info.eval.num_examples) == (9, 6)
  batches, _ = dataset.eval()
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
  dataset = data.open(config)
  next(dataset.train(3))
  list(dataset.eval()[0])
"""
  root = Path(ecanet_jax.data.__file__).parents[2]
  subprocess.run([sys.executable, '-c', program], check=True, cwd=root)


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
    data.open(config)


@pytest.mark.parametrize('kind', ['digits', 'tfrecord', 'array_record', 'folder'])
def test_batch_size_that_hosts_cannot_share(configure, kind):
  with pytest.raises(UserError, match=r'batch_size=4 must be a positive multiple of .* 3'):
    data.open(configure(kind)).train(0, host=0, num_hosts=3)


def test_host_and_step_out_of_range(configure):
  with pytest.raises(UserError, match='host 2 is not one of 2 hosts'):
    data.open(configure('digits')).train(0, host=2, num_hosts=2)
  with pytest.raises(UserError, match='start=-1'):
    data.open(configure('digits')).train(-1)


def test_tfrecord_batch_larger_than_the_split(configure):
  with pytest.raises(UserError, match='batch_size=16 is larger than the 15 images'):
    next(data.open(configure('tfrecord', batch_size=16)).train(0))


@pytest.mark.parametrize('kind', KINDS)
def test_label_counts_are_those_of_the_images(configure, kind):
  config, whole = configure(kind), configure(kind)
  whole.data.eval_split = whole.data.train_split
  dataset = data.open(config)
  info = dataset.info
  seen = np.zeros(info.num_classes, int)
  for batch in data.open(whole).eval(batch_size=64)[0]:
    np.add.at(seen, batch['label'][batch['mask']], 1)
  assert seen.sum() == info.train.num_examples
  np.testing.assert_array_equal(dataset.label_counts(), seen)
