"""SIGTERM and SIGINT in every phase: saved, status 75, and the same bits in the end."""

import re
import signal
import time

import pytest

from tests.support import programs
from tests.support.runs import assert_same_run, losses
from tests.support.trainings import await_mark, finish, pair, train


def interrupt(process, number=signal.SIGTERM):
  """Sends a signal; returns the process's end and how many seconds it took."""
  began = time.monotonic()
  process.send_signal(number)
  done = programs.finish(process)
  return done, time.monotonic() - began


@pytest.fixture(scope='module')
def uninterrupted(run, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('uninterrupted')
  return workdir, run(*train(workdir))


@pytest.mark.slow
@pytest.mark.parametrize(('phase', 'number'), [
  ('compile:3', signal.SIGTERM), ('train', signal.SIGINT), ('train', signal.SIGTERM),
  ('evaluation:3', signal.SIGTERM), ('save', signal.SIGTERM), ('data:3', signal.SIGTERM),
])
def test_one_process(uninterrupted, start, run, tmp_path, phase, number):
  expected, whole = uninterrupted
  process = start(*train(tmp_path, phase=phase))
  await_mark(process)
  done, seconds = interrupt(process, number)
  assert done.returncode == 75, done.stderr
  last = done.stderr.splitlines()[-1]
  print(f'{phase} {number.name}: {seconds:.2f} s, {last}')
  assert last.startswith(f'error: {number.name}: ') and 'Traceback' not in done.stderr
  step = int(re.search(r'saved at step (\d+) of 32', last).group(1))
  assert (tmp_path / 'checkpoints' / str(step)).exists()
  assert step == max(losses(tmp_path))  # nothing that was computed is lost
  expected_step = {'compile:3': 1, 'evaluation:3': 16, 'data:3': 6}.get(phase)
  assert expected_step in (None, step)  # the phase is the last thing that is done
  assert seconds < 40
  again = run(*train(tmp_path))
  assert again.stdout == whole.stdout
  assert_same_run(tmp_path, expected)


@pytest.mark.slow
def test_interrupted_in_the_last_evaluation(uninterrupted, start, run, tmp_path):
  expected, whole = uninterrupted
  process = start(*train(tmp_path, '--config.eval_epochs=0', phase='evaluation:1'))
  await_mark(process)
  done, _ = interrupt(process)
  assert done.returncode == 75 and 'saved at step 32 of 32' in done.stderr
  again = run(*train(tmp_path, '--config.eval_epochs=0'))
  assert again.stdout == whole.stdout
  assert run(*train(tmp_path)).stdout == f'nothing to do: {tmp_path} is at step 32 of 32\n'


@pytest.mark.slow
def test_a_second_signal_ends_at_once(start, tmp_path):
  process = start(*train(tmp_path, phase='leave:60'))
  await_mark(process)
  process.send_signal(signal.SIGTERM)
  await_mark(process)  # in the save that the signal asked for
  time.sleep(1.5)
  done, seconds = interrupt(process)
  assert done.returncode == 128 + signal.SIGTERM and seconds < 20
  assert done.stderr.splitlines()[-1] == 'error: SIGTERM again; left without saving.'


# C code that no handler of Python interrupts, as a compilation.
BUSY = """
import hashlib, sys
from ecanet_jax.training.faults.preemption import Preemption
with Preemption(0):
  print('reached the phase', file=sys.stderr, flush=True)
  hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)
"""


def test_a_second_signal_ends_at_once_in_c_code_too(start):
  process = start('-c', BUSY)
  await_mark(process)
  process.send_signal(signal.SIGTERM)
  time.sleep(1.5)
  done, seconds = interrupt(process, signal.SIGINT)
  assert done.returncode == 128 + signal.SIGINT and seconds < 10
  assert done.stderr == 'error: SIGINT again; left without saving.\n'


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_two_processes_stop_at_the_same_step(start, tmp_path):
  whole = finish(pair(start, train(tmp_path / 'whole'), devices=2))
  assert [done.returncode for done in whole] == [0, 0], whole[0].stderr + whole[1].stderr
  for phase in ('train', 'evaluation:0.5'):
    workdir = tmp_path / phase[:5]
    more = ('--config.epochs=2',) if phase == 'train' else ('--config.batch_size=32',)
    processes = pair(start, train(workdir, *more, phase=phase), devices=2)
    await_mark(processes[1])
    began = time.monotonic()
    processes[1].send_signal(signal.SIGTERM)  # the other is not told by us
    done = finish(processes)
    print(f'{phase}: {time.monotonic() - began:.2f} s')
    assert [d.returncode for d in done] == [75, 75], done[0].stderr + done[1].stderr
    steps = {re.search(r'saved at step (\d+) of 32', d.stderr).group(1) for d in done}
    assert len(steps) == 1
    print(f'{phase}: both at step {steps}')
    again = finish(pair(start, train(workdir, *more), devices=2))
    assert [d.returncode for d in again] == [0, 0], again[0].stderr + again[1].stderr
    results = [d.stdout.splitlines()[-1] for d in (again[0], whole[0])]  # Gloo prints before it
    assert results[0] == results[1] and results[0].startswith('result: ')
    assert_same_run(workdir, tmp_path / 'whole')
