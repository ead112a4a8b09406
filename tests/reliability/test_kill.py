"""SIGKILL at random moments, many of them during a save: the end is that of no interruption."""

import random
import signal
import time

import numpy as np
import pytest

from ecanet_jax.training.steps import steps_in
from tests import programs
from tests.training.test_trainer import arrays, losses

pytestmark = pytest.mark.slow

INTERVAL = 32  # steps from one save to the next
CASES, KILLS = 4, 5
FLAGS = (
  '--config=configs/smoke.py', '--config.batch_size=32', '--config.data.image_size=16',
  '--config.epochs=30', '--config.save_epochs=2', '--config.eval_epochs=10',
  '--config.log_steps=1', '--config.tensorboard=False',
)
LAST = 480


@pytest.fixture(scope='module')
def whole(run, tmp_path_factory):
  """A training that nobody interrupted."""
  workdir = tmp_path_factory.mktemp('whole')
  run('train.py', f'--workdir={workdir}', *FLAGS)
  return workdir


def kill(process, workdir, chance, during_save):
  """Kills a training that has begun; returns whether a save was going on, and the last step."""
  deadline, begun = time.monotonic() + programs.TIMEOUT, max(losses(workdir), default=0)
  while max(losses(workdir), default=0) <= begun:  # compiles
    assert process.poll() is None and time.monotonic() < deadline, process.communicate()
    time.sleep(0.01)
  saving = lambda: list((workdir / 'checkpoints').glob('*tmp*'))
  if during_save:
    while not saving():
      assert process.poll() is None and time.monotonic() < deadline, 'ended without a save'
    time.sleep(chance.uniform(0, 0.05))
  else:
    time.sleep(chance.uniform(0, 0.6))
  process.send_signal(signal.SIGKILL)
  process.communicate()
  assert process.returncode == -signal.SIGKILL
  return bool(saving()), max(losses(workdir))


@pytest.mark.parametrize('seed', range(CASES))
def test_killed_at_random(whole, run, start, tmp_path, seed):
  chance, command, lost = random.Random(seed), ['train.py', f'--workdir={tmp_path}', *FLAGS], []
  for turn in range(KILLS):
    saving, reached = kill(start(*command), tmp_path, chance, during_save=turn % 2 == 1)
    newest = max(steps_in(tmp_path), default=0)
    lost.append((reached, newest, saving))
    # The save that was going on is lost besides.
    assert reached - newest <= INTERVAL * (2 if saving else 1)
  done = run(*command)
  assert 'resumed at step' in done.stderr
  print(f'kills (step reached, newest saved, during a save): {lost}')
  assert sum(saving for *_, saving in lost) >= KILLS // 4
  found, expected = arrays(tmp_path), arrays(whole)
  assert found.keys() == expected.keys() and found['step'] == LAST
  assert not [key for key in expected if not np.array_equal(found[key], expected[key])]
  assert losses(tmp_path) == losses(whole)
  left = [path for path in tmp_path.rglob('*') if 'tmp' in path.name or 'partial' in path.name]
  assert not left
