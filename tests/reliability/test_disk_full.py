"""A disk that is full: the step before stays restorable, the error is seen, three end it."""

import contextlib
import gc
import os
import resource
import subprocess

import pytest

from ecanet_jax.checkpoints.manager import Checkpoints, SaveError
from tests.support import saved

# Orbax's, of a save that failed.
never_awaited = pytest.mark.filterwarnings(
  'ignore:coroutine:RuntimeWarning', 'ignore::pytest.PytestUnraisableExceptionWarning'
)


@contextlib.contextmanager
def largest_file(size):
  """No file of this process may grow beyond so many bytes: as a full disk, without one."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fill(workdir, limit=contextlib.nullcontext):
  """Saves step 1, then, under a limit, more until that ends; returns the last step, why, and what
  is there: the newest step, whether it is restored whole, and what unfinished saves left."""
  state = saved.fresh_state()
  checkpoints = Checkpoints(workdir, keep=99)
  checkpoints.save(1, saved.at(state, 1).items(), saved.meta(), None)
  checkpoints.wait()
  states = {step: saved.at(state, step) for step in range(2, 60)}
  with limit(), pytest.raises(SaveError) as error:
    for step in states:
      checkpoints.save(step, states[step].items(), saved.meta(), None)
  checkpoints.close()
  gc.collect()  # Orbax's coroutines that nobody awaited, while the test allows their warnings
  names = [path.name for path in checkpoints.directory.iterdir()]
  newest = max(int(name) for name in names if name.isdecimal())
  whole = saved.same(saved.restore(workdir, state), saved.at(state, newest))
  return step, str(error.value), newest, whole, [name for name in names if 'tmp' in name]


@never_awaited
def test_three_failures_end_it(tmp_path, heard):
  step, text, newest, whole, left = fill(tmp_path, lambda: largest_file(500))
  # Step 2 fails in the background and is heard of when 3 is saved; 4 is the third failure.
  assert (step, newest, whole, left) == (5, 1, True, [])
  assert text.startswith('3 saves in a row failed: step 4 is not saved (') and '\n' not in text
  assert 'MB are free' in text and text.endswith('The newest step there is 1.')
  said = [record.getMessage() for record in heard.records if record.name == 'ecanet_jax']
  assert said[0].startswith('step 2 is not saved') and said[0].endswith('failure 1 of 3 in a row')
  assert said[1].startswith('step 3 is not saved') and said[1].endswith('failure 2 of 3 in a row')


@pytest.fixture
def small_disk(tmp_path):
  """A disk of a few MB, which needs root."""
  disk = tmp_path / 'disk'
  disk.mkdir()
  mount = ['mount', '-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', str(disk)]
  if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
    pytest.skip('a tmpfs cannot be mounted')
  yield disk
  subprocess.run(['umount', '-l', str(disk)], check=True)


@pytest.mark.slow
@never_awaited
def test_small_disk(small_disk):
  _, text, newest, whole, left = fill(small_disk)
  assert text.startswith('3 saves in a row failed') and 'MB are free' in text
  assert newest >= 2 and whole and not left


LIMITED = (
  'import resource, runpy, sys; '
  'resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY)); '
  "sys.argv[0] = 'train.py'; runpy.run_path('train.py', run_name='__main__')"
)


@pytest.mark.slow
def test_a_training(run, tmp_path):
  flags = (
    '--config=configs/smoke.py', f'--workdir={tmp_path}', '--config.batch_size=32',
    '--config.data.image_size=16', '--config.eval_epochs=0', '--config.tensorboard=False',
    '--config.save_epochs=0.5', '--config.log_steps=8', '--config.schedule.warmup_epochs=0',
  )
  run('train.py', *flags, '--config.epochs=0.5')
  more = run('-c', LIMITED, '8000', *flags, '--config.epochs=4', code=2)
  last = more.stderr.splitlines()[-1]
  assert last.startswith('error: 3 saves in a row failed: step ')
  assert last.endswith('The newest step there is 8.')
  assert [path.name for path in (tmp_path / 'checkpoints').iterdir()] == ['8']
  done = run('train.py', *flags, '--config.epochs=4')
  assert 'resumed at step 8 of 64' in done.stderr and ', step 64' in done.stdout
  begun = run('-c', LIMITED, '100', *flags, f'--workdir={tmp_path / "new"}', code=2)
  assert begun.stderr.splitlines()[-1].endswith('cannot be written or read: File too large.')
  assert 'Traceback' not in begun.stderr
