"""Trainings, evaluations, conversions and sweeps whose paths are in a bucket (gs://)."""

import json
import signal
import time

import pytest

from tests.support import programs
from tests.support.runs import assert_same_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

FLAGS = (
  '--config=configs/smoke.py', '--config.batch_size=32', '--config.data.image_size=16',
  '--config.log_steps=1', '--config.eval_epochs=1', '--config.save_epochs=0.5',
  '--config.schedule.warmup_epochs=0',
)
TRAIN = ('train.py', *FLAGS, '--config.epochs=4', '--config.tensorboard=False')


@pytest.fixture(scope='module')
def whole(run, tmp_path_factory):
  """A training on a local disk that nobody interrupted."""
  workdir = tmp_path_factory.mktemp('whole')
  run(*TRAIN, f'--workdir={workdir}')
  return workdir


def begin(start, bucket, name, saves=1):
  """Starts a training and waits until some saves are done."""
  process = start(*TRAIN, f'--workdir={bucket.root}/{name}', variables=bucket.variables)
  end = time.monotonic() + programs.TIMEOUT
  try:
    while committed(bucket, name) < saves:
      assert process.poll() is None and time.monotonic() < end
      time.sleep(0.05)
  except BaseException:
    process.kill()
    print(*process.communicate())
    raise
  return process


def committed(bucket, name):
  ends = 'commit_success.txt'
  names = bucket.names(f'{name}/checkpoints/')
  return sum(each.endswith(ends) and each.count('/') == 3 for each in names)


def resume(run, bucket, name, tmp_path, code=0):
  """Runs the training to its end; returns its standard error, and a copy of its workdir."""
  workdir = f'{bucket.root}/{name}'
  done = run(*TRAIN, f'--workdir={workdir}', code=code, variables=bucket.variables)
  bucket.copy(name, tmp_path / 'copy')
  return done.stderr, tmp_path / 'copy'


def test_kill(whole, start, run, bucket, tmp_path):
  for saves in (1, 2):
    process = begin(start, bucket, 'kill', saves)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
  said, copy = resume(run, bucket, 'kill', tmp_path)
  assert 'resumed at step' in said
  assert_same_run(copy, whole)


def test_a_damaged_object(whole, start, run, bucket, tmp_path):
  process = begin(start, bucket, 'damaged', saves=3)
  process.send_signal(signal.SIGTERM)
  _, said = process.communicate(timeout=programs.TIMEOUT)
  assert process.returncode == 75, said
  steps = {int(name.split('/')[2]) for name in bucket.names('damaged/checkpoints/')}
  name = next(
    name for name in bucket.names(f'damaged/checkpoints/{max(steps)}/variables/')
    if name.endswith('_METADATA')
  )
  bucket.write(name, bucket.read(name)[:-1])
  said, copy = resume(run, bucket, 'damaged', tmp_path)
  assert f'checkpoints/{max(steps)} is damaged and not loaded: variables/_METADATA has ' in said
  assert f'resumed at step {sorted(steps)[-2]} of' in said
  assert_same_run(copy, whole)
  assert (copy / 'damaged' / str(max(steps)) / 'variables' / '_METADATA').exists()


def test_writes_that_are_refused(whole, start, run, bucket, tmp_path):
  process = begin(start, bucket, 'refused')
  with bucket.refusing_writes():
    _, said = process.communicate(timeout=programs.TIMEOUT)
    last = said.splitlines()[-1]
    assert process.returncode == 2 and last.startswith('error: '), said
    assert 'in a row failed: step ' in last or 'is not saved, see above' in last
    assert 'Traceback' not in said
    again, _ = resume(run, bucket, 'refused', tmp_path / 'refused', code=2)
    (last,) = again.splitlines()
    assert last.startswith('error: workdir=gs://bucket/refused cannot be written to: Forbidden: ')
    assert last.endswith('gcloud storage ls gs://bucket')
  said, copy = resume(run, bucket, 'refused', tmp_path)
  assert 'resumed at step' in said
  assert_same_run(copy, whole)


def test_from_training_to_evaluation(run, bucket, tmp_path):
  """train.py with an export, eval.py, and convert in both directions."""
  root = bucket.root
  def program(*arguments):
    return run(*arguments, variables=bucket.variables).stdout

  program('train.py', *FLAGS, '--config.epochs=1', f'--workdir={root}/run', '--config.export=True')
  made = {name.removeprefix('run/').split('.out.')[0] for name in bucket.names('run/')}
  assert {
    'config.json', 'metrics.jsonl', 'curves.png', 'export/config.json', 'export/README.md',
    'export/model.safetensors', 'tensorboard/events',
  } <= made
  evaluation = ('eval.py', '--config=configs/smoke.py', '--config.batch_size=32')
  top1 = json.loads(program(*evaluation, f'--workdir={root}/run').splitlines()[-1])['top1']
  report = json.loads(bucket.read('run/evaluation/synthetic-test.json'))
  assert report['top1'] == top1 and bucket.read('run/evaluation/synthetic-test.confusion.png')
  convert = ('-m', 'ecanet_jax', 'convert')
  program(*convert, f'{root}/run', f'{root}/timm')
  program(*convert, f'{root}/run', f'{root}/one.safetensors')
  program(*convert, f'{root}/timm', f'{root}/back')
  assert bucket.read('timm/model.safetensors') == bucket.read('run/export/model.safetensors')
  weights = ('timm', 'back', 'one.safetensors')
  for name in weights:
    more = ('--config.model.name=tiny_efficientnet',) if name.startswith('one') else ()
    said = program(*evaluation, f'--weights_file={root}/{name}', *more, '--preprocessing=config')
    assert json.loads(said.splitlines()[-1])['seen'] == 200, name
  done = run(
    'train.py', *FLAGS, '--config.epochs=1', f'--workdir={root}/next',
    f'--config.init.weights={root}/one.safetensors', variables=bucket.variables,
  )
  assert f'starts from {root}/one.safetensors: tiny_efficientnet, 71 of 71 arrays' in done.stderr


def test_sweep(run, bucket):
  command = (
    '-m', 'ecanet_jax', 'sweep', *FLAGS, '--config.epochs=1', f'--workdir={bucket.root}/sweep',
    '--vary=model.attention.kind=none,eca',
  )
  table = run(*command, variables=bucket.variables).stdout
  assert '| kind=none |' in table and '| kind=eca |' in table
  assert bucket.read('sweep/table.md').decode() == table
  assert b'top-1' in bucket.read('sweep/kind=eca/seed_0/log.txt')
  again = run(*command, variables=bucket.variables)
  assert '2 of 2 runs are finished' in again.stderr
