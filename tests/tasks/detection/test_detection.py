"""The task of detectors without a network: what it makes of a batch and of detections."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax.detection.presets import PRESETS
from ecanet_jax.tasks.choice import open_data, shown_metrics
from ecanet_jax.tasks.detection.detection import Detection, normalised
from tests.support import coco_files, small_detector


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
  """Three images, one of them empty, and a crowd; twice as large in the batches."""
  folder = tmp_path_factory.mktemp('coco')
  file = coco_files.write(folder, coco_files.small_content())
  return open_data(small_detector.configured(**{
    'model.num_classes': 3, 'data.source': 'coco', 'data.data_dir': str(folder),
    'data.train_json': file, 'data.eval_json': file, 'detection.shorter': 80,
    'detection.longer': 128, 'detection.buckets': ((96, 128), (128, 96)), 'batch_size': 2,
  }))


def task_of(dataset, preset, per_class=False):
  model = types.SimpleNamespace(preset=PRESETS[preset], mask_convs=0)
  return Detection(dataset.config, model, dataset, per_class)


@pytest.mark.parametrize('preset', PRESETS)
def test_ground_truth_as_detections(dataset, preset):
  """It gives 1.0 for boxes and masks; it goes through both conversions of boxes."""
  task, found, seen = task_of(dataset, preset, per_class=True), [], 0
  batches, _ = dataset.eval()
  for batch in batches:
    rows = len(batch['index'])
    boxes, labels = np.zeros((rows, 4, 4), np.float32), np.zeros((rows, 4), np.int32)
    valid = np.zeros((rows, 4), bool)
    for row, index in enumerate(batch['index']):
      truth = dataset.evaluation.load(int(index))[1]
      count = len(truth.labels)
      scale = batch['scale'][row, [1, 0, 1, 0]]
      boxes[row, :count], labels[row, :count] = truth.boxes * scale, truth.labels
      valid[row, :count] = True
    truth = task._ground_truth({
      'boxes': jnp.asarray(boxes), 'scale': jnp.asarray(batch['scale']), 'labels': labels,
      'valid': valid, 'masks': np.zeros((rows, 4, 16, 16), np.uint8), 'image': batch['image'],
    })
    outputs = types.SimpleNamespace(
      boxes=truth.boxes, scores=np.full((rows, 4), 0.9, np.float32), labels=labels, valid=valid)
    sums = task.on_host(jax.device_get(
      task.sums((outputs, np.ones((rows, 4, 28, 28), np.float32)), batch)))
    found, seen = found + sums['found'], seen + sums['seen']
  metrics = task.metrics({'found': found})
  assert seen == 3 and metrics['detections'] == 3
  assert metrics['box_ap'] == pytest.approx(1.0)
  assert metrics['mask_ap'] > 0.9
  assert [each['name'] for each in metrics['per_class']] == ['cat', 'dog', 'owl']
  assert [metric.name for metric in shown_metrics(metrics)] == ['box_ap', 'mask_ap']


def test_nothing_is_found(dataset):
  task = task_of(dataset, 'torchvision')
  metrics = task.metrics({'found': []})
  assert metrics['box_ap'] == metrics['mask_ap'] == 0.0
  assert all(np.isfinite(value) for value in metrics.values())


def test_zeros_beside_an_image():
  images, sizes = np.full((2, 4, 6, 3), 255, np.uint8), np.array([[4, 3], [2, 6]])
  half = jnp.full((3,), 0.5)
  found = np.asarray(normalised(jnp.asarray(images), jnp.asarray(sizes), half, half))
  assert (found[0, :, :3] == 1).all() and (found[0, :, 3:] == 0).all()
  assert (found[1, :2] == 1).all() and (found[1, 2:] == 0).all()
