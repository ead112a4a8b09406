"""Sums of attention weights against the equations of SE and ECA, and against one mean over all."""

import functools

import jax
import numpy as np
import pytest

from ecanet_jax.analysis.gates import channel_blocks, collect, viewer
from ecanet_jax.models import create_model
from ecanet_jax.runtime.errors import UserError

CLASSES, IMAGES, SIZE = 3, 40, 32


@pytest.fixture(scope='module', params=['eca', 'se'])
def network(request):
  model = create_model('tiny_efficientnet', num_classes=CLASSES, attention={'kind': request.param})
  images = np.random.default_rng(0).normal(size=(IMAGES, SIZE, SIZE, 3)).astype(np.float32)
  variables = model.init(jax.random.key(1), images[:1], train=False)
  return model, variables, images


def batches(images, labels, size):
  for first in range(0, len(images), size):
    rows = slice(first, first + size)
    yield {'image': images[rows], 'label': labels[rows], 'mask': np.ones(len(images[rows]), bool)}


def sigmoid(values):
  return 1 / (1 + np.exp(-values))


def test_weights_are_those_of_the_equations(network):
  model, variables, images = network
  for name, view in jax.device_get(viewer(model)(variables, images)).items():
    squeeze = view['squeeze'].astype(np.float64)
    given = variables['params'][name]['attention']
    if model.attention.kind == 'eca':  # Eq. 5: a convolution over the channels with zeros beside
      kernel = np.asarray(given['kernel'], np.float64).reshape(-1)
      wide = np.pad(squeeze, ((0, 0), (len(kernel) // 2,) * 2))
      logits = sum(
        weight * wide[:, place : place + squeeze.shape[1]] for place, weight in enumerate(kernel)
      )
    else:  # Eq. 2
      first, second = given['reduce'], given['expand']
      hidden = squeeze @ np.asarray(first['kernel'], np.float64).reshape(squeeze.shape[1], -1)
      hidden = hidden + np.asarray(first.get('bias', 0))
      hidden = hidden * sigmoid(hidden)
      logits = hidden @ np.asarray(second['kernel'], np.float64).reshape(hidden.shape[1], -1)
      logits = logits + np.asarray(second.get('bias', 0))
    np.testing.assert_allclose(view['weights'], sigmoid(logits), atol=1e-6)


def test_batches_of_any_size_give_one_mean(network):
  model, variables, images = network
  labels = np.arange(IMAGES) % CLASSES
  views = functools.partial(viewer(model), variables)
  whole = collect(views, batches(images, labels, IMAGES), CLASSES)
  for size in (1, 7):
    parts = collect(views, batches(images, labels, size), CLASSES)
    assert list(parts) == list(whole) == channel_blocks(model)
    for name, gates in parts.items():
      assert gates.weights.count.tolist() == [14, 13, 13]
      # XLA may round a batch of another size differently; the sums are exact.
      np.testing.assert_allclose(gates.weights.total, whole[name].weights.total, rtol=1e-6)
      assert gates.saturation.count == whole[name].saturation.count


def test_masked_images_do_not_count(network):
  model, variables, images = network
  views = functools.partial(viewer(model, channel_blocks(model)[:1]), variables)
  (batch,) = batches(images, np.zeros(IMAGES, int), IMAGES)
  batch['mask'][10:] = False
  (gates,) = collect(views, [batch], CLASSES).values()
  assert gates.weights.count.tolist() == [10, 0, 0]


def test_mistakes(network):
  model, *_ = network
  with pytest.raises(UserError, match=r"^no attention in a block conv_9_9 \(blocks_7_8\)\."):
    viewer(model, ['conv_9_9'])
  plain = create_model('tiny_efficientnet', attention={'kind': 'none'})
  with pytest.raises(UserError, match=r'^the network has no channel attention'):
    viewer(plain)
