"""Sets on the device: the pixels of the same set in memory, from any step, on any devices."""

import itertools
import re
import signal
import time

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest

from ecanet_jax import data
from ecanet_jax.config import schema
from ecanet_jax.data.augmentation import resampled_crop
from ecanet_jax.data.sources import in_memory, on_device
from ecanet_jax.data.sources.on_device import select
from ecanet_jax.runtime import sharding
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.tasks.classification import Classification
from ecanet_jax.training.logging.writers import read_metrics
from ecanet_jax.training.state import init_state
from ecanet_jax.training.step import make_train_step
from tests.support import programs


def configured(name, batch_size=4):
  config = schema.get_config()
  config.batch_size, config.data.image_size, config.data.decode_threads = batch_size, 16, 2
  config.data.source, config.data.name = 'memory', name
  return config


def take(stream, count):
  return list(itertools.islice(stream, count))


@pytest.mark.parametrize('devices', [1, 8])
@pytest.mark.parametrize('flip', [True, False])
@pytest.mark.parametrize('crop', resampled_crop.CROPS)
def test_batches_are_those_of_the_set_in_memory(crop, flip, devices):
  config = configured('synthetic', batch_size=96)
  config.data.crop, config.data.flip = crop, flip
  mesh = sharding.make_mesh(devices)
  dataset = data.open(config)
  source = dataset.resident()
  arrays = sharding.put_everywhere(source.arrays, mesh)
  gather = jax.jit(select, out_shardings=sharding.by_image(mesh))
  start = 3  # the third crosses the end of an epoch
  for chosen, expected in zip(source.train(start, 4), dataset.train(start)):
    batch = gather(arrays, sharding.put_batch(chosen, mesh))
    assert batch['image'].shape == (96, 16, 16, 3)
    for name in expected:
      np.testing.assert_array_equal(batch[name], expected[name])


@pytest.mark.parametrize('crop', resampled_crop.CROPS)
def test_no_device_needs_the_rows_of_another(crop):
  config = configured('digits', batch_size=16)
  config.data.crop = crop
  mesh = sharding.make_mesh(8)
  source = data.open(config).resident()
  (chosen,) = source.train(0, 1)
  gather = jax.jit(select, out_shardings=sharding.by_image(mesh))
  arrays = sharding.put_everywhere(source.arrays, mesh)
  text = gather.lower(arrays, sharding.put_batch(chosen, mesh)).compile().as_text()
  assert 'gather' in text and not re.search('all-|collective|reduce-scatter', text)


@pytest.mark.parametrize(('crop', 'image_size', 'side'), [
  ('inception', 16, 8), ('inception', 8, 8), ('inception', 6, 6), ('shift', 16, 16),
  ('center', 16, 16),
])
def test_images_of_a_set_in_memory_are_held_as_small_as_they_are(crop, image_size, side):
  config = configured('digits')
  config.data.crop, config.data.image_size = crop, image_size
  source = data.open(config).resident()
  own = in_memory.load('digits', 'train', side, config.data.interpolation)
  for name, array in source.arrays.items():
    np.testing.assert_array_equal(array, own[name])
  (chosen,) = source.train(0, 1)
  assert chosen['rows'].shape == (4, image_size, 4 if crop == 'inception' else 1)
  assert next(data.open(config).eval()[0])['image'].shape == (4, image_size, image_size, 3)


def test_images_that_are_no_squares_are_held_at_image_size(monkeypatch):
  part = {'image': np.zeros((3, 8, 9, 1), np.uint8), 'label': np.zeros((3,), np.int32)}
  monkeypatch.setitem(in_memory.SETS, 'wide', lambda directory: (part, part))
  config = configured('wide')
  assert data.open(config).resident().arrays['image'].shape == (3, 16, 16, 3)


def test_what_is_random_is_a_function_of_the_step():
  source = data.open(configured('digits', batch_size=8)).resident()
  whole = take(source.train(0, None), 6)
  tail = take(source.train(4, 2), 9)
  hosts = [take(source.train(4, 2, host=host, num_hosts=2), 9) for host in range(2)]
  assert len(tail) == 2
  for step, batch in enumerate(tail):
    for name in batch:
      np.testing.assert_array_equal(batch[name], whole[4 + step][name])
      joined = np.concatenate([part[step][name] for part in hosts])
      np.testing.assert_array_equal(joined, batch[name])


def test_every_source_can_be_resident(folder):
  config = configured('')
  config.data.source, config.data.data_dir, config.data.eval_split = 'folder', str(folder), 'val'
  config.data.crop_fraction = 0.5
  arrays = data.open(config).resident().arrays
  config.data.eval_split, config.data.crop_fraction = config.data.train_split, 1.0
  count = len(arrays['label'])
  expected = next(data.open(config).eval(batch_size=count)[0])
  assert count == data.open(config).info.train.num_examples == 11
  for name, array in arrays.items():
    np.testing.assert_array_equal(array, expected[name])
  (chosen,) = data.open(config).resident().train(5, 1)
  taps = resampled_crop.Taps(*(chosen[name] for name in resampled_crop.Taps._fields))
  cropped = jax.jit(select)(arrays, chosen)['image']
  for index, image, *one in zip(chosen['index'], cropped, *taps):
    expected = resampled_crop.resample(arrays['image'][index], resampled_crop.Taps(*one))
    np.testing.assert_array_equal(image, expected)


def test_a_set_that_does_not_fit(monkeypatch):
  config = configured('digits')
  monkeypatch.setattr(on_device, 'MAX_BYTES', 2**20)
  data.open(config).resident()  # 8 px
  config.data.crop = 'shift'
  with pytest.raises(UserError, match=r'data\.resident: 1,437 images of 16 px are 0\.0 GiB'):
    data.open(config).resident()


def test_an_unknown_crop(folder):
  config = configured('')
  config.data.source, config.data.data_dir, config.data.eval_split = 'folder', str(folder), 'val'
  config.data.crop = 'shfit'
  with pytest.raises(UserError, match=r"unknown crop .* 'shfit'\. Did you mean 'shift'"):
    data.open(config).resident()


class Linear(nn.Module):
  """Enough of a network to have a gradient."""

  @nn.compact
  def __call__(self, x, train):
    return nn.Dense(10)(x.reshape(len(x), -1))


def steps(config, devices, count):
  """Losses of `count` training steps on so many devices."""
  mesh, task, model = sharding.make_mesh(devices), Classification(config), Linear()
  tx, schedule = optax.sgd(0.01), lambda step: jax.numpy.float32(0.01)
  state = init_state(model, tx, config, task.example(), mesh)
  dataset = data.open(config)
  source = dataset.resident() if config.data.resident else None
  step = make_train_step(model, task, tx, schedule, config, mesh, source)
  batches = (source or dataset).train(0, count)
  losses = []
  for batch in batches:
    placed = sharding.put_batch(batch, mesh)
    with jax.transfer_guard('disallow'):
      state, metrics = step(state, placed)
    losses.append(float(metrics['loss']))
  return losses


@pytest.mark.slow
def test_training_steps_are_those_from_memory():
  config = configured('synthetic', batch_size=64)
  expected = steps(config, devices=1, count=10)
  config.data.resident = True
  assert expected[-1] < expected[0]
  for devices in (1, 8):
    np.testing.assert_allclose(steps(config, devices, count=10), expected, rtol=1e-5)


STEPS = (
  '--config.batch_size=32', '--config.data.image_size=16', '--config.log_steps=1',
  '--config.eval_epochs=0', '--config.epochs=4', '--config.tensorboard=False',
  '--config.save_epochs=0.25',
)


def losses(workdir):
  lines = read_metrics(workdir)
  return {line['step']: line['train/loss'] for line in lines if 'train/loss' in line}


@pytest.mark.slow
def test_a_killed_training_goes_on(run, start, tmp_path):
  command = lambda name, *more: [
    'train.py', '--config=configs/smoke.py', f'--workdir={tmp_path / name}', *STEPS, *more
  ]
  run(*command('memory'))
  expected = losses(tmp_path / 'memory')
  assert list(expected) == list(range(1, 65))
  process = start(*command('resident', '--config.data.resident=True'), devices=8)
  deadline = time.monotonic() + programs.TIMEOUT
  saved = tmp_path / 'resident' / 'checkpoints'
  while not any(folder.name.isdigit() for folder in saved.glob('*')):
    assert process.poll() is None and time.monotonic() < deadline, 'ended before the kill'
    time.sleep(0.02)
  process.send_signal(signal.SIGKILL)
  process.communicate()
  done = run(*command('resident', '--config.data.resident=True'), devices=8)
  assert 'resumed at step' in done.stderr
  found = losses(tmp_path / 'resident')
  assert found.keys() == expected.keys()
  np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-5)
