"""Killed at any step and started again: growing images, early stop, weights to start from."""

import pathlib
import shutil
import signal
import time

import numpy as np
import pytest

from tests.support import programs
from tests.support.runs import arrays, losses

pytestmark = pytest.mark.slow

COMMON = (
  '--config=configs/smoke.py', '--config.batch_size=32', '--config.data.image_size=16',
  '--config.log_steps=1', '--config.save_epochs=0.5', '--config.tensorboard=False',
)
GROWING = (
  '--config.epochs=2', '--config.eval_epochs=0', '--config.data.image_size=24',
  '--config.data.size_schedule=((0,16),(0.8,24))', '--config.accumulate=2',
  '--config.model.bn_groups=2', '--config.loss.balanced=True',
)
# Nothing is learnt, so top-1 does not rise for long.
STOPPING = (
  '--config.epochs=8', '--config.eval_epochs=0.25', '--config.schedule.lr=1e-9',
  '--config.schedule.warmup_epochs=0', '--config.early_stop=6', '--config.ema.decay=0.5',
)


def train(workdir, *flags):
  return ['train.py', f'--workdir={workdir}', *COMMON, *flags]


def kill_after(process, workdir, step, saved):
  """Kills it when a step is done and the checkpoint of an earlier one is on disk."""
  deadline = time.monotonic() + programs.TIMEOUT
  checkpoint = workdir / 'checkpoints' / str(saved)
  while max(losses(workdir), default=0) < step or not checkpoint.is_dir():
    assert process.poll() is None and time.monotonic() < deadline, 'ended before the kill'
    time.sleep(0.02)
  process.send_signal(signal.SIGKILL)
  process.communicate()
  assert process.returncode == -signal.SIGKILL


def assert_same_run(workdir, expected):
  ours, theirs = arrays(workdir), arrays(expected)
  assert ours.keys() == theirs.keys()
  assert not [key for key in theirs if not np.array_equal(ours[key], theirs[key])]
  assert losses(workdir) == losses(expected)


@pytest.mark.parametrize('resident', ['False', 'True'])
def test_growing_images(run, start, tmp_path, resident):
  flags = (*GROWING, f'--config.data.resident={resident}')
  done = run(*train(tmp_path / 'whole', *flags))
  assert 'image sizes: 16 px from step 0 on, 24 px from step 13 on' in done.stderr
  command = train(tmp_path / 'killed', *flags)
  for step, saved in ((10, 8), (18, 16)):  # before the change at 13, and behind it
    kill_after(start(*command), tmp_path / 'killed', step, saved)
  run(*command)
  assert_same_run(tmp_path / 'killed', tmp_path / 'whole')
  eight = run(*train(tmp_path / 'eight', *flags), devices=8)
  assert 'result: top-1 ' in eight.stdout
  ours, theirs = losses(tmp_path / 'eight'), losses(tmp_path / 'whole')
  np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=1e-5)


def test_early_stop(run, start, tmp_path):
  done = run(*train(tmp_path / 'whole', *STOPPING))
  stopped = max(losses(tmp_path / 'whole'))
  why = done.stdout.rpartition('; ')[2]
  assert stopped < 8 * 16 and f', step {stopped}; stopped early: 6 eval' in done.stdout
  assert why.endswith(f' of step {stopped - 6 * 4}\n')
  command = train(tmp_path / 'killed', *STOPPING)
  saved = (stopped - 12) // 8 * 8  # of the six, some are counted and some are not
  kill_after(start(*command), tmp_path / 'killed', saved + 1, saved)
  again = run(*command)
  assert again.stdout == done.stdout
  assert_same_run(tmp_path / 'killed', tmp_path / 'whole')
  workdir = tmp_path / 'whole'
  idle = run(*command[:1], f'--workdir={workdir}', *command[2:])
  assert idle.stdout == f'nothing to do: {workdir} is at step {stopped} of 128; {why}'
  longer = run(*train(workdir, *STOPPING, '--config.early_stop=0', '--config.epochs=7'))
  assert longer.stdout.endswith(', step 112\n')


def test_weights_are_read_at_the_first_start_only(run, start, tmp_path):
  run(*train(tmp_path / 'theirs', '--config.epochs=1', '--config.eval_epochs=0'))
  flags = (
    '--config.epochs=2', '--config.eval_epochs=0', f'--config.init.weights={tmp_path / "theirs"}',
    '--config.init.new_head=True',
  )
  done = run(*train(tmp_path / 'whole', *flags))
  assert 'starts from' in done.stderr and 'new, not from the weights (init.new_head)' in done.stderr
  command = train(tmp_path / 'killed', *flags)
  kill_after(start(*command), tmp_path / 'killed', 10, 8)
  shutil.rmtree(pathlib.Path(tmp_path / 'theirs'))
  assert 'starts from' not in run(*command).stderr
  assert_same_run(tmp_path / 'killed', tmp_path / 'whole')
