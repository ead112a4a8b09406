"""The losses of a classification against timm's, on labels and on mixed images."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from timm.loss import BinaryCrossEntropy, SoftTargetCrossEntropy

from ecanet_jax.config import schema
from ecanet_jax.tasks.classification import Classification

CLASSES, IMAGES = 7, 12


def ours(outputs, batch, name, smoothing, threshold=0.0):
  config = schema.get_config()
  config.loss.name, config.loss.label_smoothing = name, smoothing
  config.loss.target_threshold = threshold
  return float(Classification(config).loss(jnp.asarray(outputs), batch))


@pytest.fixture
def problem():
  random = np.random.RandomState(0)
  outputs = 3 * random.randn(IMAGES, CLASSES).astype(np.float32)
  label, other = random.randint(0, CLASSES, (2, IMAGES)).astype(np.int32)
  return outputs, {'label': label, 'other': other, 'share': np.float32(random.rand(IMAGES))}


@pytest.mark.parametrize(('smoothing', 'threshold'), [(0.0, 0.0), (0.1, 0.0), (0.1, 0.2)])
def test_binary_cross_entropy_of_labels_is_timms(problem, smoothing, threshold):
  outputs, batch = problem
  criterion = BinaryCrossEntropy(smoothing, threshold or None)
  theirs = criterion(torch.tensor(outputs), torch.tensor(batch['label']))
  result = ours(outputs, {'label': batch['label']}, 'bce', smoothing, threshold)
  assert result == pytest.approx(theirs.item(), rel=1e-5)


@pytest.mark.parametrize(('name', 'threshold'), [('softmax', 0.0), ('bce', 0.0), ('bce', 0.2)])
def test_losses_of_mixed_images_are_timms(problem, name, threshold):
  outputs, batch = problem
  share = batch['share'][:, None]
  mixed = share * np.eye(CLASSES)[batch['label']] + (1 - share) * np.eye(CLASSES)[batch['other']]
  soft = 0.9 * mixed + 0.1 / CLASSES
  criterion = {
    'softmax': SoftTargetCrossEntropy(), 'bce': BinaryCrossEntropy(0.1, threshold or None)
  }[name]
  theirs = criterion(torch.tensor(outputs), torch.tensor(soft.astype(np.float32)))
  assert ours(outputs, batch, name, 0.1, threshold) == pytest.approx(theirs.item(), rel=1e-5)
