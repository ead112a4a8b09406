"""The trainer as users run it: resume, devices, processes, checkpoints that do not fit."""

import json
import signal
import time

import numpy as np
import pytest

from configs import smoke
from ecanet_jax.checkpoints.files import load_saved, load_weights
from ecanet_jax.evaluation.summary import origin
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.training.trainer import Trainer
from tests.support import programs
from tests.support.runs import arrays, losses

STEPS = (
  '--config.batch_size=32', '--config.data.image_size=16', '--config.log_steps=1',
  '--config.eval_epochs=0',
)


def train(workdir, *more):
  return ['train.py', '--config=configs/smoke.py', f'--workdir={workdir}', *STEPS, *more]


@pytest.fixture(scope='module')
def uninterrupted(run, tmp_path_factory):
  """32 steps on one device."""
  workdir = tmp_path_factory.mktemp('uninterrupted')
  done = run(*train(workdir, '--config.epochs=2'))
  return workdir, done


def test_leaves_what_it_promises(uninterrupted):
  workdir, done = uninterrupted
  assert done.stdout.startswith('result: top-1 ')
  assert '200 of 200 images' in done.stdout
  assert (workdir / 'curves.png').read_bytes().startswith(b'\x89PNG')
  assert list((workdir / 'tensorboard').glob('events*'))
  assert json.loads((workdir / 'config.json').read_text())['batch_size'] == 32
  curve = losses(workdir)
  assert list(curve) == list(range(1, 33))
  assert np.mean([curve[s] for s in range(25, 33)]) < 0.97 * curve[1]


def test_again_has_nothing_to_do(uninterrupted, run):
  workdir, _ = uninterrupted
  before = arrays(workdir)
  done = run(*train(workdir, '--config.epochs=2'))
  assert done.stdout == f'nothing to do: {workdir} is at step 32 of 32\n'
  after = arrays(workdir)
  assert all(np.array_equal(before[key], after[key]) for key in before)


def test_killed_and_restarted_is_bit_identical(uninterrupted, start, run, tmp_path):
  expected = arrays(uninterrupted[0])
  command = train(tmp_path, '--config.epochs=2', '--config.save_epochs=0.5')
  kills = 0
  for after in (6, 18):
    process = start(*command)
    deadline = time.monotonic() + programs.TIMEOUT
    while max(losses(tmp_path), default=0) < after:
      assert process.poll() is None and time.monotonic() < deadline, 'ended before the kill'
      time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kills += process.returncode == -signal.SIGKILL
  done = run(*command)
  assert kills == 2
  assert 'resumed at step' in done.stderr
  found = arrays(tmp_path)
  assert found.keys() == expected.keys()
  different = [key for key in expected if not np.array_equal(found[key], expected[key])]
  assert not different
  assert losses(tmp_path) == losses(uninterrupted[0])
  assert not list((tmp_path / 'checkpoints').glob('*tmp*'))


def largest_difference(workdir, reference):
  ours, theirs = losses(workdir), losses(reference)
  assert len(ours) == len(theirs) == 32
  return max(abs(ours[step] - theirs[step]) / theirs[step] for step in theirs)


@pytest.mark.slow
def test_eight_devices_give_the_same_curve(uninterrupted, run, tmp_path):
  run(*train(tmp_path, '--config.epochs=2'), devices=8)
  assert largest_difference(tmp_path, uninterrupted[0]) < 1e-5


@pytest.mark.slow
def test_two_processes_give_the_same_curve(uninterrupted, start, tmp_path):
  address = f'127.0.0.1:{programs.free_port()}'
  children = [
    start(
      *train(tmp_path, '--config.epochs=2', f'--coordinator={address}', '--num_processes=2',
             f'--process_id={rank}'),
      devices=2,
    )
    for rank in (0, 1)
  ]
  done = [programs.finish(child) for child in children]
  assert [d.returncode for d in done] == [0, 0], done[0].stderr + done[1].stderr
  assert largest_difference(tmp_path, uninterrupted[0]) < 1e-5
  assert 'result: top-1' in done[0].stdout and '200 of 200' in done[0].stdout
  assert 'result' not in done[1].stdout


def test_evaluation_program(uninterrupted, run):
  workdir, done = uninterrupted
  command = [
    'eval.py', '--config=configs/smoke.py', f'--workdir={workdir}', '--config.data.image_size=16'
  ]
  evaluated = run(*command)
  line, figures = evaluated.stdout.splitlines()
  figures = json.loads(figures)
  assert figures['seen'] == 200
  assert line.split(' on ')[0] == done.stdout.removeprefix('result: ').split(' on ')[0]
  raw = run(*command, '--kind=raw')
  assert json.loads(raw.stdout.splitlines()[1])['loss'] != figures['loss']


def test_weights_of_a_checkpoint(uninterrupted):
  config, variables = load_weights(uninterrupted[0])
  assert config['model']['name'] == 'tiny_efficientnet'
  assert variables['params']['classifier']['kernel'].shape == (32, 10)
  saved = load_saved(uninterrupted[0])
  assert saved.data == {
    'num_classes': 10, 'label_names': None, 'train_images': 512, 'eval_images': 200,
    'multi_label': False,
  }
  name, text = origin(config, saved.metrics)
  assert name == 'synthetic' and text.startswith('top-1 ')
  assert text.endswith(' on all 200 images of test of synthetic, step 32')
  saved = load_saved(uninterrupted[0], ema=False)
  assert origin(config, saved.metrics) == ('synthetic', '')


def test_checkpoint_of_another_network(uninterrupted):
  config = smoke.get_config()
  config.data.image_size = 16
  config.model.attention.kind = 'se'
  with pytest.raises(UserError) as error:
    Trainer(config, uninterrupted[0]).run()
  assert 'is a checkpoint of another network' in str(error.value)
  assert 'params/blocks_0_0/attention/reduce/bias' in str(error.value)
  assert 'params/blocks_0_0/attention/kernel' in str(error.value)


def test_checkpoint_that_cannot_be_read(uninterrupted, run, tmp_path):
  import shutil

  shutil.copytree(uninterrupted[0], tmp_path, dirs_exist_ok=True)
  for path in (tmp_path / 'checkpoints' / '32' / 'variables').rglob('*'):
    if path.is_file():
      path.write_bytes(b'')
  done = run(*train(tmp_path), code=2)
  lines = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
  assert len(lines) == 1 and 'none of its checkpoints is sound (step 32: variables/' in lines[0]
  assert 'Traceback' not in done.stderr
  missing = run('eval.py', '--config=configs/smoke.py', f'--workdir={tmp_path}/none', code=2)
  assert 'none: no such file or directory' in missing.stderr
