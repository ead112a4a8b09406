"""Processes that die, hang or were given something else: the others end soon and say why."""

import signal
import time

import pytest

from ecanet_jax.ops.cpu import kernels
from ecanet_jax.runtime.distributed import HEARTBEAT
from tests.support import programs
from tests.support.runs import assert_same_run
from tests.support.trainings import STARTED_AGAIN, await_mark, finish, pair, train

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]


@pytest.mark.parametrize('dead', [0, 1], ids=['coordinator', 'worker'])
def test_a_process_is_killed(start, tmp_path, dead):
  finish(pair(start, train(tmp_path / 'whole'), devices=2))
  workdir = tmp_path / 'killed'
  processes = pair(start, train(workdir, '--config.save_epochs=0.25', phase='train'), devices=2)
  await_mark(processes[dead])
  processes[dead].send_signal(signal.SIGKILL)
  began = time.monotonic()
  done = finish([processes[1 - dead]])[0]
  seconds = time.monotonic() - began
  print(f'{seconds:.1f} s, status {done.returncode}: {done.stderr.splitlines()[-1][:300]}')
  programs.finish(processes[dead])
  assert done.returncode in STARTED_AGAIN
  assert seconds < HEARTBEAT + 5
  again = finish(pair(start, train(workdir, '--config.save_epochs=0.25'), devices=2))
  assert [d.returncode for d in again] == [0, 0], again[0].stderr
  assert_same_run(workdir, tmp_path / 'whole')


def test_a_process_hangs(start, tmp_path):
  allowed = '--config.watchdog_seconds=30'  # compiling in two processes takes 10
  phases = 'none', 'data:600'
  processes = pair(
    start, lambda rank: train(tmp_path, allowed, phase=phases[rank]), devices=2
  )
  log = await_mark(processes[1])
  began = time.monotonic()
  done = finish(processes)
  print(f'{time.monotonic() - began:.1f} s, statuses {[d.returncode for d in done]}')
  assert 76 in [d.returncode for d in done]
  assert all(d.returncode in STARTED_AGAIN for d in done)
  said = [line for d in done for line in d.stderr.splitlines() if 'no progress for 30 s' in line]
  print('\n'.join(said))
  assert any("process 1" in line and "phase 'data' after step 6" in line for line in said)
  stacks = [d.stderr for d in done if 'no progress' in d.stderr]
  assert 'Thread 0x' in stacks[0] and 'Traceback' not in log


def test_one_process_hangs(start, tmp_path):
  kernels.load('float32')  # which it would compile while the watchdog counts
  process = start(*train(tmp_path, '--config.watchdog_seconds=30', phase='data:600'))
  await_mark(process)
  began = time.monotonic()
  done = programs.finish(process)
  print(f'{time.monotonic() - began:.1f} s')
  assert done.returncode == 76
  last = done.stderr.splitlines()[-1]
  assert last.startswith('error: process 0 of 1: no progress for 30 s (watchdog_seconds) in '
                         "phase 'data' after step 6. The stacks")
  assert 'slow_stream' in done.stderr  # where it hangs


@pytest.mark.parametrize(('other', 'devices', 'text'), [
  (('--config.seed=1',), 2, 'config.seed is {} in process {}'),
  ((), 1, 'devices of a process is {} in process {}'),
])
def test_processes_that_disagree(start, tmp_path, other, devices, text):
  address = f'127.0.0.1:{programs.free_port()}'
  began = time.monotonic()
  processes = [
    start(*train(tmp_path, *(other if rank else ())), f'--coordinator={address}',
          '--num_processes=2', f'--process_id={rank}', devices=devices if rank else 2)
    for rank in (0, 1)
  ]
  done = finish(processes)
  print(f'{time.monotonic() - began:.1f} s from the start')
  assert [d.returncode for d in done] == [2, 2], done[0].stderr + done[1].stderr
  for rank, d in enumerate(done):
    line = [line for line in d.stderr.splitlines() if line.startswith('error: ')]
    assert len(line) == 1 and 'the processes were not given the same configuration: ' in line[0]
    mine = ('0', '1') if other else ('2', '1')
    assert text.format(mine[rank], rank) in line[0]
  assert not tmp_path.joinpath('checkpoints').exists()
