"""Progressive resizing: sizes by step, streams by size, networks that take one size."""

import itertools

import numpy as np
import pytest

from configs import smoke
from ecanet_jax import create_model, data
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.training.progressive_resizing import Stretch, check_sizes, size_at, stretches
from ecanet_jax.training.train_batches import step_stream


def configured(*schedule, resident=False):
  config = smoke.get_config()
  config.data.size_schedule, config.data.resident, config.batch_size = schedule, resident, 8
  return config


def test_sizes_by_step():
  config = configured((0, 16), (1.5, 24), (2, 32), (9, 64))
  expected = [Stretch(0, 15, 16), Stretch(15, 20, 24), Stretch(20, 40, 32)]
  assert stretches(config, 10.0, 40) == expected
  assert [size_at(expected, step) for step in (0, 14, 15, 19, 20, 39)] == [16, 16, 24, 24, 32, 32]
  assert stretches(configured(), 10.0, 40) == [Stretch(0, 40, 32)]
  assert stretches(configured((0, 16), (0.01, 24)), 10.0, 40) == [Stretch(0, 40, 24)]


@pytest.mark.parametrize('schedule', [
  ((1, 16),), ((0, 16), (5, 24), (5, 32)), ((0, 16), (5, 24), (3, 32)), ((0, 0),), ((0, -16),),
  ((0, 16.5),), ((0,),), ((0, 16, 1),), (0, 16), (('a', 16),),
])
def test_what_is_no_schedule(schedule):
  with pytest.raises(UserError, match=r'^data\.size_schedule=.* must be pairs') as error:
    stretches(configured(*schedule), 10.0, 40)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize('resident', [False, True])
def test_the_stream_changes_its_size_and_nothing_else(resident):
  config = configured((0, 16), (0.1, 24), resident=resident)
  parts = stretches(config, 512 / 8, 12)
  assert [part.first for part in parts] == [0, 6]
  made = []

  def make_step(source):
    made.append(source)
    return len(made)

  dataset = data.open(config)
  whole = list(step_stream(dataset, parts, 0, make_step))
  assert len(whole) == 12
  if resident:  # one compiled step for each set of images on the device
    assert [step for step, _ in whole] == [1] * 6 + [2] * 6
    assert [batch['rows'].shape[1] for _, batch in whole] == [16] * 6 + [24] * 6
  else:
    assert made == [None]
    assert [batch['image'].shape[1] for _, batch in whole] == [16] * 6 + [24] * 6
  for (_, batch), plain in zip(whole, dataset.train(0, 12)):  # the order is that of one size
    if not resident:
      np.testing.assert_array_equal(batch['label'], plain['label'])
  config.data.image_size = 24
  for (_, batch), plain in zip(whole[6:], data.open(config).train(6, 6), strict=True):
    if not resident:  # the pixels are those of a data set that was opened at this size
      np.testing.assert_array_equal(batch['image'], plain['image'])
  for start in (3, 6, 9):  # the tail of the stream, before, at and behind the change
    tail = list(step_stream(dataset, parts, start, make_step))
    for (_, batch), (_, expected) in itertools.zip_longest(tail, whole[start:]):
      assert all(np.array_equal(batch[name], expected[name]) for name in expected)


def test_a_network_of_one_size():
  with pytest.raises(UserError, match=r'data\.size_schedule: params/.* this network takes one'):
    check_sizes(create_model('tiny_resnet', attention='aa'), 64, {32, 64})
  check_sizes(create_model('tiny_efficientnet'), 64, {32, 64})
