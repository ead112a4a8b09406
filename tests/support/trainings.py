"""Short trainings in processes of their own: slow in one phase, or of several processes."""

import signal

from tests.support import programs
from tests.support.phases import MARK

ARGUMENTS = (
  '--config=configs/smoke.py', '--config.batch_size=32', '--config.data.image_size=16',
  '--config.log_steps=1', '--config.epochs=2', '--config.eval_epochs=1',
  '--config.save_epochs=0.5', '--config.tensorboard=False',
)
STARTED_AGAIN = (75, 76, 134, 137, 143, -signal.SIGABRT)  # statuses of scripts/again.sh


def train(workdir, *more, phase=''):
  """The arguments of a short training; with a phase, of one that is slow in it."""
  program = ('-m', 'tests.support.phases', phase) if phase else ('train.py',)
  return [*program, f'--workdir={workdir}', *ARGUMENTS, *more]


def pair(start, command, devices=1, of=2):
  """Starts the processes of one training; `command` may depend on the rank."""
  address = f'127.0.0.1:{programs.free_port()}'
  commands = command if callable(command) else lambda rank: command
  return [
    start(*commands(rank), f'--coordinator={address}', f'--num_processes={of}',
          f'--process_id={rank}', devices=devices)
    for rank in range(of)
  ]


def finish(processes):
  """Waits for the processes of one training."""
  try:
    return [programs.finish(process, programs.PAIR_TIMEOUT) for process in processes]
  finally:
    for process in processes:
      process.kill()


def await_mark(process, mark=MARK):
  """Reads its log up to the mark; returns what was read."""
  lines = []
  for line in process.stderr:
    lines.append(line)
    if mark in line:
      return ''.join(lines)
  raise AssertionError(f'{process.wait()}: ended before {mark!r}:\n{"".join(lines)}')
