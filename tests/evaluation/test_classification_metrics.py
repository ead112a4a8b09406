"""Per-class counts, confusion and calibration against scikit-learn and numpy on the same logits."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from configs import smoke
from ecanet_jax.evaluation.classification_metrics import BINS, ClassificationMetrics
from ecanet_jax.evaluation.evaluate import evaluate, make_eval_step
from ecanet_jax.evaluation.summary import result_line
from ecanet_jax.runtime import sharding
from ecanet_jax.runtime.errors import UserError

CLASSES, IMAGES = 12, 500


@pytest.fixture(scope='module')
def answers():
  random = np.random.RandomState(0)
  logits = random.randn(IMAGES, CLASSES).astype(np.float32) * 2
  label = random.randint(0, CLASSES - 1, IMAGES).astype(np.int32)  # the last class has no image
  logits[np.arange(IMAGES), label] += 2
  return logits, label


def padded(array, rows):
  return np.resize(array, (rows, *array.shape[1:]))  # repeated, not zeros


def measured(logits, label, rows=IMAGES, columns=()):
  """The metrics of batches of `rows`, the last one padded."""
  task, totals = ClassificationMetrics(smoke.get_config(), columns), {}
  add = jax.jit(task.sums)
  for first in range(0, len(logits), rows):
    part = slice(first, first + rows)
    batch = {'label': padded(label[part], rows), 'mask': np.arange(rows) < len(label[part])}
    for key, value in add(padded(logits[part], rows), batch).items():
      totals[key] = totals.get(key, 0) + np.asarray(value)
  return task.metrics(totals)


def reference_ece(probability, right):
  """Guo et al. 2017, Eq. 3, bin by bin."""
  confidence, gap = probability.max(1), 0.0
  for number in range(BINS):
    inside = (confidence > number / BINS) & (confidence <= (number + 1) / BINS)
    if inside.any():
      gap += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
  return gap


def softmax(logits):
  exp = np.exp(logits - logits.max(1, keepdims=True))
  return exp / exp.sum(1, keepdims=True)


def test_classes_and_confusion_against_scikit_learn(answers):
  logits, label = answers
  found, answer = measured(logits, label), logits.argmax(1)
  matrix = sk.confusion_matrix(label, answer, labels=range(CLASSES))
  assert [entry['seen'] for entry in found['classes']] == matrix.sum(1).tolist()
  assert [entry['correct'] for entry in found['classes']] == matrix.diagonal().tolist()
  ours = np.diag(matrix.diagonal())
  for row, column, images in found['confused']:
    ours[row, column] = images
  np.testing.assert_array_equal(ours, matrix)
  counts = [images for *_, images in found['confused']]
  assert counts == sorted(counts, reverse=True)
  recall = sk.recall_score(label, answer, labels=range(CLASSES - 1), average='macro')
  assert found['mean_per_class'] == pytest.approx(recall)
  assert found['top5'] == sk.top_k_accuracy_score(label, logits, k=5, labels=range(CLASSES))
  assert found['loss'] == pytest.approx(
    sk.log_loss(label, softmax(logits), labels=range(CLASSES)), rel=1e-5
  )


def test_calibration_against_numpy(answers):
  logits, label = answers
  found = measured(logits, label)
  right = logits.argmax(1) == label
  assert found['ece'] == pytest.approx(reference_ece(softmax(logits), right), rel=1e-4)
  assert sum(found['bins']['count']) == IMAGES
  assert sum(found['bins']['correct']) == right.sum()


def test_a_confidence_on_a_bins_end_is_in_the_lower_bin():
  # Two of two classes alike: 1/2 is inside bin 7 of 15; two logits far apart: 1 is in the last.
  found = measured(np.array([[0, 0], [99, 0]], np.float32), np.array([0, 1], np.int32))
  assert np.flatnonzero(found['bins']['count']).tolist() == [7, 14]
  fifth = np.log(np.array([[1, 1, 1, 1, 1]], np.float32) / 5)  # 0.2 = 3 / 15 ends bin 2
  assert np.flatnonzero(measured(fifth, np.zeros(1, np.int32))['bins']['count']).tolist() == [2]


@pytest.mark.parametrize('rows', [7, 64, 512])
def test_the_same_for_every_batch_size(answers, rows):
  whole, found = measured(*answers), measured(*answers, rows)
  for key in ('classes', 'confused', 'top1', 'top5'):
    assert found[key] == whole[key]
  assert found['bins']['count'] == whole['bins']['count']
  assert found['ece'] == pytest.approx(whole['ece'], rel=1e-5)


def test_only_some_columns_compete(answers):
  logits, label = answers
  columns = (1, 4, 5, 9)
  mine = np.isin(label, columns)
  found = measured(logits[mine], label[mine], columns=columns)
  answer = np.array(columns)[logits[mine][:, columns].argmax(1)]
  assert found['top1'] == (answer == label[mine]).mean()
  assert found['top1'] > (logits[mine].argmax(1) == label[mine]).mean()
  assert [entry['class'] for entry in found['classes']] == list(columns)
  matrix = sk.confusion_matrix(label[mine], answer, labels=columns)
  for row, column, images in found['confused']:
    assert matrix[columns.index(row), columns.index(column)] == images
  right = answer == label[mine]
  assert found['ece'] == pytest.approx(reference_ece(softmax(logits[mine][:, columns]), right))


def test_several_labels(answers):
  logits, _ = answers
  labels = np.random.RandomState(1).rand(IMAGES, CLASSES) < 0.15
  some = labels.any(1)
  assert 0 < (~some).sum() < IMAGES
  found = measured(logits, labels, rows=64)
  order = np.argsort(-logits[some], 1, kind='stable')
  right = np.take_along_axis(labels[some], order, 1)
  assert found['left_out'] == (~some).sum()
  assert found['top1'] == right[:, 0].mean()
  assert found['top5'] == right[:, :5].any(1).mean()
  probability = softmax(logits[some])
  loss = -np.log((probability * labels[some]).sum(1)).mean()
  assert found['loss'] == pytest.approx(loss, rel=1e-5)
  assert found['ece'] == pytest.approx(reference_ece(probability, right[:, 0]), rel=1e-4)
  assert 'classes' not in found and 'confused' not in found
  with pytest.raises(UserError, match='the evaluation split has no image with a label'):
    measured(logits, np.zeros_like(labels))


class Pooled(nn.Module):
  """A network of one layer on the image's mean colours."""

  @nn.compact
  def __call__(self, x, train):
    return nn.Dense(10)(x.mean((1, 2)))


def test_counts_on_devices_with_labels_left_out(capsys):
  config, model = smoke.get_config(), Pooled()
  task, random = ClassificationMetrics(config), np.random.RandomState(0)
  variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), train=False)
  images = random.randint(0, 256, (60, 8, 8, 3)).astype(np.uint8)
  labels = random.rand(60, 10) < 0.1

  def run(rows, devices):
    mesh, steps = sharding.make_mesh(devices), -(-60 // rows)
    batches = []
    for first in range(0, 60, rows):
      part, count = slice(first, first + rows), min(rows, 60 - first)
      batches.append({
        'image': padded(images[part], rows), 'label': padded(labels[part], rows),
        'mask': np.arange(rows) < count,
      })
    step = make_eval_step(model, task, mesh)
    placed = jax.device_put(variables, sharding.replicated(mesh))
    return evaluate(step, placed, iter(batches), steps, 60, task, mesh)

  one = run(60, 1)
  assert one['seen'] == labels.any(1).sum() and one['left_out'] == 60 - one['seen']
  for rows, devices in ((16, 8), (7, 1)):
    other = run(rows, devices)
    for key in ('top1_count', 'top5_count', 'seen', 'left_out'):
      assert other[key] == one[key]
    assert other['bins']['count'] == one['bins']['count']
  line = result_line(ClassificationMetrics, one, 'validation', 60, 'W')
  assert line.endswith(
    f'on {one["seen"]} of 60 images of validation, {one["left_out"]} without a label; W'
  )
