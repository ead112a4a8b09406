"""Detectors in the trainer: resume, devices, programs per bucket, what is left behind."""

import json

import numpy as np
import pytest

from ecanet_jax.training import trainer
from ecanet_jax.training.logging.writers import read_metrics
from ecanet_jax.training.trainer import Trainer
from tests.support import coco_files, small_detector
from tests.support.runs import arrays


class Killed(Exception):
  """Stands for a kill."""


@pytest.fixture(scope='module')
def coco(tmp_path_factory):
  """A config for two buckets: images of both orientations, with 0 to 9 objects."""
  folder, content = tmp_path_factory.mktemp('coco'), {
    'images': [], 'categories': coco_files.CATEGORIES, 'annotations': []
  }
  for number in range(16):
    height, width = (40, 64) if number % 2 else (64, 40)
    content['images'].append(
      {'id': number, 'file_name': f'{number}.png', 'height': height, 'width': width})
    for place in range(number % 10):
      content['annotations'].append(coco_files.annotation(
        len(content['annotations']) + 1, number, coco_files.CATEGORIES[place % 3]['id'],
        [2 * place, 3 * place, 12, 10 + place % 3]))
  file = coco_files.write(folder, content)
  return small_detector.configured(**{
    'model.num_classes': 3, 'data.source': 'coco', 'data.data_dir': str(folder),
    'data.train_json': file, 'data.eval_json': file, 'data.flip': True, 'steps': 6,
    'detection.buckets': ((64, 96), (96, 64)), 'detection.longer': 96, 'detection.max_boxes': 9,
    'detection.empty': 'keep', 'detection.min_side': 16, 'save_epochs': 1.0, 'eval_epochs': 0.0,
  })


@pytest.fixture(scope='module')
def killed_and_resumed(coco, tmp_path_factory):
  """The workdirs of a training and of one that was killed, and the compiled steps of both."""
  steps, make = [], trainer.make_train_step

  def noted(*arguments, **keywords):
    steps.append(make(*arguments, **keywords))
    return steps[-1]

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(trainer, 'make_train_step', noted)
    whole, halves = (tmp_path_factory.mktemp(name) for name in ('whole', 'halves'))
    Trainer(coco, whole).run()
    first = Trainer(coco, halves)
    batches = first.dataset.train

    def until_killed(start, *rest, **hosts):
      yield from batches(start, 3, **hosts)
      raise Killed

    patch.setattr(first.dataset, 'train', until_killed)
    with pytest.raises(Killed):
      first.run()
    Trainer(coco, halves).run()
  return whole, halves, steps


def test_killed_and_resumed_is_bit_identical(killed_and_resumed):
  whole, halves, _ = killed_and_resumed
  expected, found = arrays(whole), arrays(halves)
  assert found.keys() == expected.keys() and found['step'] == 6
  assert not [key for key in expected if not np.array_equal(found[key], expected[key])]
  key = 'train/loss_mask'
  losses = [[line[key] for line in read_metrics(each) if key in line] for each in (whole, halves)]
  assert losses[0] == losses[1] and len(losses[0]) == 6


def test_one_program_for_each_bucket(killed_and_resumed):
  """Batches of both buckets with images of 0 to 9 objects."""
  whole, _, steps = killed_and_resumed
  assert steps[0]._cache_size() == 2


def test_what_a_training_leaves(killed_and_resumed):
  whole, _, _ = killed_and_resumed
  last = read_metrics(whole)[-1]
  assert {'eval/box_ap', 'eval/mask_ap', 'eval/box_ap50'} <= set(last) and last['eval/seen'] == 16
  assert (whole / 'curves.png').exists()
  assert json.loads((whole / 'config.json').read_text())['detection']['max_boxes'] == 9


def test_eight_devices_equal_one():
  """With the same random draws: another sample would change the losses by more."""
  config = small_detector.configured()
  one, eight = (small_detector.Training(config, devices) for devices in (1, 8))
  for batch in one.dataset.train(0, 2):
    expected, found = one.advance(batch), eight.advance(batch)
    assert {'loss_objectness', 'loss_rpn_box', 'loss_classification', 'loss_box', 'loss_mask'} <= (
      expected.keys())
    for name, value in expected.items():
      assert found[name] == pytest.approx(value, rel=2e-4, abs=1e-6), name


@pytest.mark.slow
def test_one_batch_is_learned_by_heart():
  """Every loss falls below 5 % of its start."""
  config = small_detector.configured(**{
    'steps': 600, 'batch_size': 2, 'model.planes': 16, 'model.detector.channels': 32,
    'model.detector.hidden': 64, 'model.detector.roi_samples': 32, 'model.frozen_bn': False,
    'schedule.lr': 3e-3 * 256 / 2,
  })
  training = small_detector.Training(config)
  batch = next(training.dataset.train(0, 1))
  first = training.advance(batch)
  history = [training.advance(batch) for _ in range(599)]
  for name in (key for key in first if key.startswith('loss_')):
    assert np.mean([step[name] for step in history[-20:]]) < 0.05 * first[name], name
