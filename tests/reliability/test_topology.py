"""The same training and the same counts on any number of devices and processes."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from configs import smoke
from ecanet_jax import data
from ecanet_jax.evaluation.evaluate import evaluate, make_eval_step
from ecanet_jax.models import create_from_config
from ecanet_jax.runtime import sharding
from ecanet_jax.tasks.classification import Classification
from tests.support.runs import losses
from tests.support.trainings import finish, pair

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

IMAGES = 9_973  # a prime: no batch size divides it
STEPS = 60
TRAIN = (
  'train.py', '--config=configs/smoke.py', '--config.batch_size=32', '--config.data.image_size=16',
  '--config.log_steps=1', '--config.epochs=3.75', '--config.eval_epochs=0',
  '--config.tensorboard=False',
)


@pytest.fixture(scope='module')
def one_device(run, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('one')
  run(*TRAIN, f'--workdir={workdir}')
  return losses(workdir)


def assert_same_curve(workdir, expected, what):
  ours = losses(workdir)
  assert list(ours) == list(expected) == list(range(1, STEPS + 1))
  largest = max(abs(ours[step] - expected[step]) / expected[step] for step in expected)
  print(f'{what}: largest relative difference of {STEPS} losses {largest:.1e}')
  assert largest < 1e-5


@pytest.mark.parametrize('devices', [2, 4, 8])
def test_devices(one_device, run, tmp_path, devices):
  run(*TRAIN, f'--workdir={tmp_path}', devices=devices)
  assert_same_curve(tmp_path, one_device, f'{devices} devices')


def test_two_processes_of_four_devices(one_device, start, run, tmp_path):
  processes = pair(start, [*TRAIN, f'--workdir={tmp_path}'], devices=4)
  done = finish(processes)
  assert [d.returncode for d in done] == [0, 0], done[0].stderr + done[1].stderr
  assert_same_curve(tmp_path, one_device, '2 processes of 4 devices')
  # Its checkpoint on one process, and that one's on two.
  longer = [*TRAIN, f'--workdir={tmp_path}', '--config.epochs=4.375']
  assert 'resumed at step 60 of 70' in run(*longer).stderr
  processes = pair(start, [*longer, '--config.epochs=5'], devices=4)
  done = finish(processes)
  assert [d.returncode for d in done] == [0, 0]
  assert 'resumed at step 70 of 80' in done[1].stderr


@pytest.fixture(scope='module')
def images(tmp_path_factory):
  root = tmp_path_factory.mktemp('images')
  random = np.random.RandomState(0)
  for number in range(IMAGES):
    folder = root / 'val' / f'class{number % 10}'
    folder.mkdir(parents=True, exist_ok=True)
    noise = random.randint(0, 100, (16, 16, 3)) + 15 * (number % 10)
    Image.fromarray(noise.astype(np.uint8)).save(folder / f'{number}.png')
  return root


FLAGS = ('--config.data.source=folder', '--config.data.eval_split=val',
         '--config.data.train_split=val', '--config.data.image_size=16',
         '--config.data.crop_fraction=1.0')


def configure(images):
  config = smoke.get_config()
  config.data.source, config.data.data_dir = 'folder', str(images)
  config.data.eval_split = config.data.train_split = 'val'
  config.data.image_size, config.data.crop_fraction = 16, 1.0
  return config


def test_every_batch_size_and_number_of_devices_counts_the_same(images):
  config = configure(images)
  model = create_from_config(config.model)
  variables = model.init(jax.random.key(1), np.zeros((1, 16, 16, 3), np.float32), train=False)
  task, found = Classification(config), {}
  for devices, batch_size in ((1, 64), (1, 999), (2, 250), (4, 512), (8, 8), (8, 9976)):
    mesh = sharding.make_mesh(devices)
    batches, steps = data.open(config).eval(batch_size=batch_size)
    metrics = evaluate(
      make_eval_step(model, task, mesh), jax.device_put(variables, sharding.replicated(mesh)),
      batches, steps, IMAGES, task, mesh,
    )
    found[devices, batch_size] = [metrics[key] for key in ('top1_count', 'top5_count', 'seen')]
  print(found)
  assert len({tuple(counts) for counts in found.values()}) == 1
  assert found[1, 64][2] == IMAGES and 0 < found[1, 64][0] < IMAGES


def test_every_number_of_processes_counts_the_same(images, run, start, tmp_path):
  flags = (*FLAGS, f'--config.data.data_dir={images}')
  # Something to evaluate: a step or two of training on these images.
  train = ['train.py', '--config=configs/smoke.py', f'--workdir={tmp_path}', *flags,
           '--config.epochs=0.02', '--config.schedule.warmup_epochs=0',
           '--config.tensorboard=False']
  run(*train)
  command = ['eval.py', '--config=configs/smoke.py', f'--workdir={tmp_path}', *flags]
  keys = 'top1_count', 'top5_count', 'seen'

  def counts(done):
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    return tuple(figures[key] for key in keys)

  found = {(1, 1, 64): counts(run(*command))}
  for processes, devices, batch_size in ((2, 1, 250), (2, 2, 64), (3, 1, 99)):
    more = [*command, f'--config.batch_size={batch_size}']
    done = finish(pair(start, more, devices=devices, of=processes))
    assert all(d.returncode == 0 for d in done), done[0].stderr
    found[processes, devices, batch_size] = counts(done[0])
  print(found)
  assert len(set(found.values())) == 1 and found[1, 1, 64][2] == IMAGES
