"""Detectors in the trainer: resume, devices, programs per bucket, what a training leaves behind."""

import json
import shutil

import numpy as np
import pytest

from ecanet_jax.data.detection.digit_scenes import SceneSplit
from ecanet_jax.evaluation.evaluate_weights import evaluate_weights
from ecanet_jax.inference.detector import as_json, is_detector_training, load_detector
from ecanet_jax.runtime import sharding
from ecanet_jax.training import trainer
from ecanet_jax.training.logging.writers import read_metrics
from ecanet_jax.training.trainer import Trainer
from tests.support import coco_files, small_detector
from tests.support.runs import arrays


@pytest.fixture(scope='module')
def one_device():
  """Trainings of this module are on one device, and compile each step once."""
  programs = {}

  def once(name, make):
    def made(*arguments, **keywords):
      key = name, arguments[0]  # the network
      if key not in programs:
        programs[key] = make(*arguments, **keywords)
      return programs[key]

    return made

  make_mesh = sharding.make_mesh
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sharding, 'make_mesh', lambda devices=1: make_mesh(devices))
    for name in ('make_train_step', 'make_eval_step'):
      patch.setattr(trainer, name, once(name, getattr(trainer, name)))
    yield programs


def killed_and_resumed(config, folder):
  """The workdirs of a training, and of one that had only the first checkpoint of it."""
  whole, halves = folder / 'whole', folder / 'halves'
  Trainer(config, whole).run()
  first, *_ = sorted(int(path.name) for path in (whole / 'checkpoints').glob('[0-9]*'))
  assert 0 < first < config.steps
  shutil.copytree(whole, halves)
  for path in (halves / 'checkpoints').iterdir():
    if path.name != str(first):
      shutil.rmtree(path) if path.is_dir() else path.unlink()
  Trainer(config, halves).run()
  return whole, halves


def assert_same(whole, halves):
  expected, found = arrays(whole), arrays(halves)
  assert found.keys() == expected.keys()
  assert not [key for key in expected if not np.array_equal(found[key], expected[key])]
  names = ('train/loss_box', 'train/loss_classification', 'eval/box_ap')
  lines = [
    [(line['step'], name, line[name]) for line in read_metrics(each) for name in names
     if name in line] for each in (whole, halves)
  ]
  assert lines[0] == lines[1] and len(lines[0]) > 4


@pytest.fixture(scope='module')
def trained(one_device, tmp_path_factory):
  """A Faster R-CNN after four steps, and the same resumed in the middle."""
  config = small_detector.configured(**{
    'model.name': 'faster_rcnn_r50_fpn', 'save_epochs': 2 / 3, 'keep_checkpoints': 3})
  return killed_and_resumed(config, tmp_path_factory.mktemp('scenes'))


@pytest.mark.slow
def test_resumed_is_bit_identical(trained):
  assert_same(*trained)


@pytest.mark.slow
def test_what_a_training_leaves(trained):
  whole, _ = trained
  last = read_metrics(whole)[-1]
  assert {'eval/box_ap', 'eval/box_ap50'} <= set(last) and last['eval/seen'] == 8
  assert not any('mask' in key for key in last)
  assert (whole / 'curves.png').exists()
  assert json.loads((whole / 'config.json').read_text())['detection']['max_boxes'] == 8


@pytest.mark.slow
def test_one_program(trained, one_device):
  faster_rcnn = [key for key in one_device if not hasattr(key[1], 'mask_convs')]
  assert {key[0]: one_device[key]._cache_size() for key in faster_rcnn} == {
    'make_train_step': 1, 'make_eval_step': 1}


@pytest.mark.slow
def test_retinanet_trains():
  """It has its two losses, and draws no samples; other tests follow its detections."""
  training = small_detector.Training(
    small_detector.configured(**{'model.name': 'retinanet_r50_fpn', 'steps': 6}))
  metrics = [training.advance(batch) for batch in training.dataset.train(start=0, steps=6)]
  assert {'loss_box', 'loss_classification'} <= metrics[0].keys()
  assert metrics[-1]['loss'] < metrics[0]['loss']


OBJECTS = (0, 1, 7, 50, 99, 100, 3, 20)  # of the images of a bucket


@pytest.fixture(scope='module')
def two_buckets(one_device, tmp_path_factory):
  """A Mask R-CNN on images of both orientations, with 0 to 100 objects: three epochs."""
  folder = tmp_path_factory.mktemp('coco')
  file = coco_files.write(folder, coco_files.both_orientations(OBJECTS, 40, 64, (8, 20)))
  config = small_detector.configured(**{
    'model.num_classes': 3, 'data.source': 'coco', 'data.data_dir': str(folder),
    'data.train_json': file, 'data.eval_json': file, 'data.flip': True, 'steps': 6,
    'detection.buckets': ((64, 96), (96, 64)), 'detection.longer': 96, 'detection.max_boxes': 100,
    'detection.empty': 'keep', 'detection.min_side': 16, 'save_epochs': 1.0,
    'keep_checkpoints': 3,
  })
  return killed_and_resumed(config, tmp_path_factory.mktemp('buckets'))


@pytest.mark.slow
def test_resumed_between_buckets_is_bit_identical(two_buckets):
  assert_same(*two_buckets)


@pytest.mark.slow
def test_one_program_for_each_bucket(two_buckets, one_device):
  """For training and for evaluation, with 0 to 100 objects on an image."""
  mask_rcnn = [key for key in one_device if hasattr(key[1], 'mask_convs')]
  sizes = {key[0]: one_device[key]._cache_size() for key in mask_rcnn}
  assert sizes == {'make_train_step': 2, 'make_eval_step': 2}


@pytest.mark.slow
def test_evaluation_and_prediction(two_buckets, tmp_path):
  whole, _ = two_buckets
  from ecanet_jax.config.stored import read_config

  metrics = evaluate_weights(read_config(whole), whole, report=tmp_path / 'report.json')
  last = read_metrics(whole)[-1]
  for name in ('box_ap', 'mask_ap', 'box_ar100'):
    assert metrics[name] == pytest.approx(last[f'eval/{name}'], abs=1e-6)
  report = json.loads((tmp_path / 'report.json').read_text())
  assert [each['name'] for each in report['per_class']] == ['cat', 'dog', 'owl']
  assert is_detector_training(whole) and not is_detector_training(tmp_path)
  detector = load_detector(whole)
  image, _ = SceneSplit('validation', 0, 1).load(0)
  found = detector.find(image)
  objects = as_json(found, detector.label_names)
  assert len(objects) == len(found.scores) and detector.label_names == ('cat', 'dog', 'owl')
  assert all(each['mask']['size'] == [128, 128] for each in objects)
  assert all(0 <= side <= 128 for each in objects for side in each['box'])


@pytest.mark.slow
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
def test_one_batch_is_learned_by_heart(tmp_path):
  """Every loss falls below 5 % of its start.

  The objects are large: a digit of 16 pixels has four cells of P2 on a side, too few for the edges
  of its mask, whose loss stays at 7 %. Mask targets are 0 or 1, because soft edges have an entropy
  that no loss goes below. The box loss has its largest value as its start: until there are good
  proposals, the ground truth itself is all that is positive, and its offsets are 0.
  """
  side, steps = 96, 400
  outlines = ([10, 10, 80, 20, 50, 80], [48, 6, 90, 50, 48, 90, 8, 46])
  content = {'images': [], 'categories': coco_files.CATEGORIES, 'annotations': []}
  for number, outline in enumerate(outlines):
    content['images'].append(
      {'id': number, 'file_name': f'{number}.png', 'height': side, 'width': side})
    x, y = outline[0::2], outline[1::2]
    content['annotations'].append(coco_files.annotation(
      number + 1, number, coco_files.CATEGORIES[number]['id'],
      [min(x), min(y), max(x) - min(x), max(y) - min(y)], segmentation=[outline]))
  file = coco_files.write(tmp_path, content)
  config = small_detector.configured(**{
    'steps': steps, 'batch_size': 2, 'model.planes': 16, 'model.detector.channels': 32,
    'model.detector.hidden': 64, 'model.detector.roi_samples': 32, 'model.detector.mask_convs': 1,
    'model.detector.preset': 'mmdet1', 'schedule.lr': 3e-3 * 256 / 2, 'model.num_classes': 3,
    'data.source': 'coco', 'data.data_dir': str(tmp_path), 'data.train_json': file,
    'data.eval_json': file, 'detection.shorter': side, 'detection.longer': side,
    'detection.buckets': ((side, side),), 'detection.mask_size': 28,
  })
  training = small_detector.Training(config)
  batch = next(training.dataset.train(0, 1))
  history = [training.advance(batch) for _ in range(steps)]
  start = {**history[0], 'loss_box': max(step['loss_box'] for step in history)}
  shares = {
    name: np.mean([step[name] for step in history[-20:]]) / start[name]
    for name in start if name.startswith('loss_')
  }
  assert len(shares) == 5 and max(shares.values()) < 0.05, shares
