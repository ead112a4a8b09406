"""Detectors in processes of their own: killed between two saves, and evaluated in two processes."""

import json
import signal
import time

import numpy as np
import pytest

from ecanet_jax.checkpoints.recovery import PARTIAL, steps_in
from ecanet_jax.training.logging.writers import read_metrics
from tests.support import coco_files, programs
from tests.support.runs import arrays, losses
from tests.support.trainings import finish, pair

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

OBJECTS = (0, 1, 2, 3, 4, 2, 1, 3)  # of the images of a bucket
INTERVAL, STEPS = 10, 60  # steps from one save to the next, and of the training
CHANGES = {
  'model.num_classes': 3, 'model.detector.anchor_scales': (4.0,), 'data.source': 'coco',
  'steps': STEPS, 'save_epochs': INTERVAL / 2, 'keep_checkpoints': 2, 'data.flip': True,
  'detection.buckets': ((64, 96), (96, 64)), 'detection.longer': 96, 'detection.max_boxes': 4,
  'detection.empty': 'keep',
}


@pytest.fixture(scope='module')
def command(tmp_path_factory):
  """Makes the command that trains a small Mask R-CNN in a workdir, on images of two buckets."""
  folder = tmp_path_factory.mktemp('coco')
  file = coco_files.write(folder, coco_files.both_orientations(OBJECTS, 64, 96, (18, 36)))
  changes = {**CHANGES, 'data.data_dir': str(folder), 'data.train_json': file,
             'data.eval_json': file}
  config = folder / 'small_detector.py'
  config.write_text(
    'from tests.support import small_detector\n\n\ndef get_config():\n'
    f'  return small_detector.configured(**{changes!r})\n')
  return lambda workdir: ['train.py', f'--config={config}', f'--workdir={workdir}']


@pytest.fixture(scope='module')
def whole(command, start, tmp_path_factory):
  """A training that nobody interrupted."""
  workdir = tmp_path_factory.mktemp('whole')
  run_to_the_end(start(*command(workdir)))
  return workdir


def run_to_the_end(process):
  """Waits for a program, which must succeed; returns what it said."""
  (done,) = finish([process])
  assert done.returncode == 0, done.stderr
  return done


def kill_between_saves(process, workdir, after):
  """Kills a training that has gone on beyond a save that is later than a step.

  Returns the step that it reached and the newest one on disk.
  """
  deadline = time.monotonic() + programs.PAIR_TIMEOUT
  while True:
    newest, reached = max(steps_in(workdir), default=0), max(losses(workdir), default=0)
    saving = list((workdir / 'checkpoints').glob(f'*{PARTIAL}*'))
    if after < newest < reached < STEPS and not saving:
      break
    assert process.poll() is None and time.monotonic() < deadline, process.communicate()
    time.sleep(0.005)
  process.send_signal(signal.SIGKILL)
  process.communicate()
  assert process.returncode == -signal.SIGKILL
  return max(losses(workdir)), newest


def test_killed_between_two_saves(command, whole, start, tmp_path):
  """Two kills; parameters, losses and COCO's numbers are those of no interruption, to the bit."""
  kills = [
    kill_between_saves(start(*command(tmp_path)), tmp_path, after) for after in (0, 2 * INTERVAL)]
  print(f'kills (step reached, newest saved): {kills}')
  done = run_to_the_end(start(*command(tmp_path)))
  assert 'resumed at step' in done.stderr
  ours, theirs = arrays(tmp_path), arrays(whole)
  assert ours['step'] == STEPS and ours.keys() == theirs.keys()
  assert not [key for key in theirs if not np.array_equal(ours[key], theirs[key])]
  assert losses(tmp_path) == losses(whole)
  found, expected = (
    {key: value for key, value in read_metrics(workdir)[-1].items() if key.startswith('eval/')}
    for workdir in (tmp_path, whole))
  assert found == expected and {'eval/box_ap', 'eval/mask_ap'} <= set(found)


def test_evaluation_in_two_processes(whole, start):
  """COCO's numbers of boxes and masks are those of one process, and of the training."""
  command = ['eval.py', f'--workdir={whole}']
  one = run_to_the_end(start(*command))
  two = finish(pair(start, command))
  assert [done.returncode for done in two] == [0, 0], two[0].stderr + two[1].stderr
  assert 'box_ap' not in two[1].stdout  # the first process speaks
  expected, found = (json.loads(done.stdout.splitlines()[-1]) for done in (one, two[0]))
  print(found)
  numbers = [key for key in expected if key.startswith(('box_', 'mask_'))]
  assert len(numbers) >= 20 and found == expected
  assert expected['seen'] == 16 and min(expected['box_ap'], expected['mask_ap']) > 0.02
  last = read_metrics(whole)[-1]
  assert {key: last[f'eval/{key}'] for key in numbers} == {
    key: expected[key] for key in numbers}
