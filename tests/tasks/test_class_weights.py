"""Class weights: PyTorch's loss, balance from the training split, mistakes."""

import types

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from configs import smoke
from ecanet_jax import data
from ecanet_jax.data.sources import in_memory
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.tasks.class_weights import class_weights
from ecanet_jax.tasks.classification import Classification


@pytest.mark.parametrize('smoothing', [0.0, 0.2])
def test_loss_is_that_of_pytorch_before_the_mean(smoothing):
  config = smoke.get_config()
  config.loss.label_smoothing = smoothing
  weights = (0.0, 0.5, 1.0, 3.0)
  random = np.random.default_rng(0)
  logits = random.normal(size=(6, 4)).astype(np.float32)
  labels = random.integers(0, 4, 6).astype(np.int32)
  ours = Classification(config, weights).loss(jnp.asarray(logits), {'label': jnp.asarray(labels)})
  theirs = torch.nn.functional.cross_entropy(
    torch.tensor(logits), torch.tensor(labels, dtype=torch.long), torch.tensor(weights),
    label_smoothing=smoothing, reduction='none',
  )
  assert float(ours) == pytest.approx(theirs.mean().item(), rel=1e-5)
  plain = Classification(config).loss(jnp.asarray(logits), {'label': jnp.asarray(labels)})
  ones = Classification(config, (1.0,) * 4).loss(
    jnp.asarray(logits), {'label': jnp.asarray(labels)}
  )
  assert float(plain) == float(ones) != float(ours)


def test_balanced_gives_every_class_the_same_sum():
  config = smoke.get_config()
  config.data.name, config.loss.balanced = 'digits', True
  dataset = data.open(config)
  counts = dataset.label_counts()
  assert counts.sum() == in_memory.DIGITS_TRAIN and len(set(counts.tolist())) > 1
  weights = np.array(class_weights(config, dataset))
  np.testing.assert_allclose(weights * counts, in_memory.DIGITS_TRAIN / 10)
  config.loss.balanced = False
  assert class_weights(config, dataset) == ()


def dataset_of(counts):
  """A data set with so many training images of each class."""
  info = types.SimpleNamespace(num_classes=len(counts), multi_label=False)
  return types.SimpleNamespace(info=info, label_counts=lambda: np.array(counts))


def test_a_class_without_images():
  config = smoke.get_config()
  config.loss.balanced = True
  text = r"loss\.balanced: 2 of 4 classes have no image in 'train', class 1 first"
  with pytest.raises(UserError, match=text):
    class_weights(config, dataset_of([3, 0, 2, 0]))


@pytest.mark.parametrize(('weights', 'text'), [
  ((1.0, 2.0), 'loss.class_weights has 2 factors and the data set 3 classes'),
  ((1.0, -2.0, 1.0), 'loss.class_weights: -2.0 must be at least 0 and finite'),
  ((1.0, float('nan'), 1.0), 'loss.class_weights: nan must be at least 0 and finite'),
  ((0.0, 0.0, 0.0), 'and one factor above 0'),
])
def test_mistakes(weights, text):
  config = smoke.get_config()
  config.loss.class_weights = weights
  with pytest.raises(UserError) as error:
    class_weights(config, dataset_of([1, 1, 1]))
  assert text in str(error.value) and '\n' not in str(error.value)
  config.loss.balanced = True
  with pytest.raises(UserError, match=r'loss\.balanced computes loss\.class_weights'):
    class_weights(config, dataset_of([1, 1, 1]))
