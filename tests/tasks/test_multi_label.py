"""Images with several labels: loss, metrics against scikit-learn and PyTorch, a whole training."""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score

import ecanet_jax
from configs import smoke
from ecanet_jax.evaluation.evaluate_weights import evaluate_weights
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.tasks.choice import make_task
from ecanet_jax.tasks.multi_label import MultiLabelClassification, average_precision
from ecanet_jax.training.trainer import Trainer
from tests.support.image_folders import write_jpeg_folder

CLASSES, IMAGES = 6, 40


@pytest.fixture
def problem():
  random = np.random.RandomState(0)
  outputs = np.round(random.randn(IMAGES, CLASSES), 1).astype(np.float32)  # with equal scores
  labels = random.rand(IMAGES, CLASSES) < 0.3
  return outputs, labels


def configured(**loss):
  config = smoke.get_config()
  config.data.source, config.data.label_separator, config.loss.name = 'csv', '|', 'bce'
  config.loss.update(loss)
  return config


def probabilities(outputs):
  return 1 / (1 + np.exp(-outputs.astype(np.float64)))


def test_metrics_are_those_of_scikit_learn(problem):
  outputs, labels = problem
  labels[:, 4] = False  # no image has this class
  mask = np.arange(IMAGES) < 35
  task = MultiLabelClassification(configured())
  sums = jax.device_get(task.sums(jnp.asarray(outputs), {'label': labels, 'mask': mask}))
  found = task.metrics(sums)
  there = [0, 1, 2, 3, 5]
  truth, answers = labels[mask][:, there], (outputs > 0)[mask]
  assert found['mean_average_precision'] == pytest.approx(
    average_precision_score(truth, probabilities(outputs)[mask][:, there], average='macro'))
  assert found['macro_f1'] == pytest.approx(
    f1_score(truth, answers[:, there], average='macro'))
  assert found['micro_f1'] == pytest.approx(f1_score(labels[mask], answers, average='micro'))
  assert found['classes_without_images'] == 1 and sums['seen'] == 35
  loss = torch.nn.functional.binary_cross_entropy_with_logits(
    torch.tensor(outputs[mask]), torch.tensor(labels[mask]).float())
  assert found['loss'] == pytest.approx(loss.item(), rel=1e-5)


def test_average_precision_with_equal_scores_and_nan():
  labels = np.array([True, False, True, False])
  assert average_precision(labels, np.zeros(4)) == 0.5
  assert average_precision(labels, np.array([2.0, 1.0, np.nan, 0.0])) == pytest.approx(0.75)


def test_the_loss_with_mixing_smoothing_and_class_weights(problem):
  outputs, labels = problem
  random = np.random.RandomState(1)
  other, share = labels[::-1], random.rand(IMAGES).astype(np.float32)
  weights = tuple(random.rand(CLASSES).tolist())
  task = make_task(configured(label_smoothing=0.1), weights)
  found = task.loss(jnp.asarray(outputs), {'label': labels, 'other': other, 'share': share})
  mixed = share[:, None] * labels + (1 - share[:, None]) * other
  expected = torch.nn.functional.binary_cross_entropy_with_logits(
    torch.tensor(outputs), torch.tensor(0.9 * mixed + 0.05, dtype=torch.float32),
    weight=torch.tensor(weights, dtype=torch.float32),
  )
  assert float(found) == pytest.approx(expected.item(), rel=1e-5)
  config = configured()
  config.mix.mixup_alpha = 0.5
  batch = {'image': jnp.zeros((IMAGES, 4, 4, 3), jnp.uint8), 'label': jnp.asarray(labels)}
  mixed = make_task(config).mix(batch, jax.random.key(0))
  np.testing.assert_array_equal(mixed['other'], other)
  assert mixed['share'].shape == (IMAGES,)


def test_softmax_is_refused():
  with pytest.raises(UserError, match=r"^loss\.name='softmax' is for one label per image: set --"):
    make_task(configured(name='softmax'))


def test_a_training_and_its_evaluation(tmp_path, capsys):
  write_jpeg_folder(tmp_path / 'set', 16)
  rows = [
    (path.relative_to(tmp_path / 'set'), 'even|all' if path.parent.name == 'a' else 'odd|all',
     path.parts[-3])
    for path in sorted((tmp_path / 'set').rglob('*.jpg'))
  ]
  with (tmp_path / 'set' / 'labels.csv').open('w', newline='') as file:
    csv.writer(file).writerows([('path', 'label', 'split'), *rows])
  config = configured(label_smoothing=0.0)
  config.data.csv, config.data.eval_split = str(tmp_path / 'set' / 'labels.csv'), 'val'
  config.epochs, config.batch_size, config.data.image_size = 1.0, 16, 16
  config.model.num_classes, config.tensorboard, config.early_stop = 3, False, 1
  config.export = True
  metrics = Trainer(config, tmp_path / 'run').run()
  assert metrics['seen'] == 4 and 0 < metrics['mean_average_precision'] <= 1
  assert 'result: mAP ' in capsys.readouterr().out and (tmp_path / 'run' / 'curves.png').exists()
  config.batch_size = 8
  again = evaluate_weights(config, tmp_path / 'run', report=str(tmp_path / 'report'))
  assert again['mean_average_precision'] == pytest.approx(metrics['mean_average_precision'])
  assert [path.name for path in (tmp_path / 'report').iterdir()] == ['labels-val.json']
  exported = ecanet_jax.load(tmp_path / 'run' / 'export')
  assert exported.multi_label and exported.label_names == ('all', 'even', 'odd')
  config.loss.balanced = True
  with pytest.raises(UserError, match=r'^loss\.balanced is for one label per image'):
    Trainer(config, tmp_path / 'other')
