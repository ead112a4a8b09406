"""SIGKILL at random moments, many of them during a save: the end is that of no interruption."""

import random
import signal
import time

import numpy as np
import pytest

from ecanet_jax.checkpoints.recovery import PARTIAL, steps_in
from tests.support import programs
from tests.support.runs import arrays, losses
from tests.support.trainings import STARTED_AGAIN, finish, pair

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

INTERVAL = 32  # steps from one save to the next
KILLS = 5  # of one process, in each of 4 cases
KILLS_SEEN = []  # of all tests
FLAGS = (
  '--config=configs/smoke.py', '--config.batch_size=32', '--config.data.image_size=16',
  '--config.epochs=30', '--config.save_epochs=2', '--config.eval_epochs=10',
  '--config.log_steps=1', '--config.tensorboard=False',
)


# 48 steps instead of 480, 16 between saves: two processes are slow on one machine.
SHORTER = '--config.epochs=3', '--config.save_epochs=1', '--config.schedule.warmup_epochs=0'


def command(workdir):
  return ['train.py', f'--workdir={workdir}', *FLAGS]


def start_pair(start, workdir):
  return pair(start, [*command(workdir), *SHORTER])


@pytest.fixture(scope='module')
def whole(run, tmp_path_factory):
  """A training that nobody interrupted."""
  workdir = tmp_path_factory.mktemp('whole')
  run(*command(workdir))
  return workdir


@pytest.fixture(scope='module')
def whole_pair(start, tmp_path_factory):
  """A shorter one in two processes."""
  workdir = tmp_path_factory.mktemp('whole_pair')
  done = finish(start_pair(start, workdir))
  assert [d.returncode for d in done] == [0, 0], done[0].stderr + done[1].stderr
  return workdir


def kill(process, workdir, chance, during_save):
  """Kills a process of a training that has begun.

  Returns the last step that it wrote down, the newest on disk, and whether a save was going on.
  """
  deadline, begun = time.monotonic() + programs.PAIR_TIMEOUT, max(losses(workdir), default=0)
  while max(losses(workdir), default=0) <= begun:  # compiles
    assert process.poll() is None and time.monotonic() < deadline, process.communicate()
    time.sleep(0.01)
  saving = lambda: list((workdir / 'checkpoints').glob(f'*{PARTIAL}*'))
  if during_save:
    while not saving():
      assert process.poll() is None and time.monotonic() < deadline, 'ended without a save'
      time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.02))
  else:
    time.sleep(chance.uniform(0, 0.6))
  process.send_signal(signal.SIGKILL)
  process.communicate()
  assert process.returncode == -signal.SIGKILL
  return max(losses(workdir)), max(steps_in(workdir), default=0), bool(saving())


def assert_nothing_is_lost(kills, interval):
  print(f'kills (step reached, newest saved, during a save): {kills}')
  for reached, newest, saving in kills:
    assert reached - newest <= interval * (2 if saving else 1)  # the save going on is lost besides
  KILLS_SEEN.extend(kills)


def assert_same(workdir, expected):
  ours, theirs = arrays(workdir), arrays(expected)
  assert ours.keys() == theirs.keys()
  assert not [key for key in theirs if not np.array_equal(ours[key], theirs[key])]
  assert losses(workdir) == losses(expected)
  assert not [p for p in workdir.rglob('*') if 'tmp' in p.name or 'partial' in p.name]


@pytest.mark.parametrize('seed', range(4))
def test_one_process(whole, run, start, tmp_path, seed):
  chance, kills = random.Random(seed), []
  for turn in range(KILLS):
    kills.append(kill(start(*command(tmp_path)), tmp_path, chance, during_save=turn % 2 == 1))
  done = run(*command(tmp_path))
  if kills[-1][1]:  # otherwise all came before the first save was done
    assert 'resumed at step' in done.stderr
  assert_nothing_is_lost(kills, INTERVAL)
  assert_same(tmp_path, whole)


@pytest.mark.parametrize('seed', range(5))
def test_two_processes(whole_pair, start, tmp_path, seed):
  chance, kills = random.Random(seed), []
  for dead in (seed % 2, 1 - seed % 2):  # 0 is the coordinator
    processes = start_pair(start, tmp_path)
    kills.append(kill(processes[dead], tmp_path, chance, during_save=dead == 1))
    (other,) = finish([processes[1 - dead]])
    assert other.returncode in STARTED_AGAIN, other.stderr
  done = finish(start_pair(start, tmp_path))
  assert [d.returncode for d in done] == [0, 0], done[0].stderr + done[1].stderr
  if kills[-1][1]:  # otherwise both came before the first save was done
    assert 'resumed at step' in done[0].stderr
  assert_nothing_is_lost(kills, INTERVAL // 2)
  assert_same(tmp_path, whole_pair)


def test_a_quarter_of_all_kills_came_during_a_save():
  if not KILLS_SEEN:
    pytest.skip('counts the kills of the tests above: run the whole file')
  assert sum(saving for *_, saving in KILLS_SEEN) >= len(KILLS_SEEN) / 4
