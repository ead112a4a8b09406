"""Sums of attention weights against the equations of SE and ECA, and against one mean over all."""

import functools

import jax
import numpy as np
import pytest

from ecanet_jax.analysis.gates import channel_blocks, collect, viewer
from ecanet_jax.models import create_model
from ecanet_jax.runtime import sharding
from ecanet_jax.runtime.errors import UserError
from tests.support.random_variables import random_variables

CLASSES, IMAGES, SIZE = 3, 40, 32


@pytest.fixture(scope='module', params=['eca', 'se'])
def network(request):
  model = create_model('tiny_efficientnet', num_classes=CLASSES, attention={'kind': request.param})
  images = np.random.default_rng(0).normal(size=(IMAGES, SIZE, SIZE, 3)).astype(np.float32)
  return model, random_variables(model), images


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


@pytest.mark.parametrize(('size', 'devices'), [(1, 1), (7, 1), (64, 1), (8, 8), (64, 8)])
def test_sums_of_batches_are_one_mean_over_all_images(network, size, devices):
  model, variables, images = network
  labels, names = np.arange(IMAGES) % CLASSES, channel_blocks(model)
  mesh = sharding.make_mesh(devices)
  program = functools.partial(viewer(model), jax.device_put(variables, sharding.replicated(mesh)))
  seen, masks = {name: [] for name in names}, []

  def views(images):
    found = program(images)
    for name, view in jax.device_get(found).items():
      seen[name].append(view['weights'])
    return found

  def placed():
    for batch in batches(images, labels, size):
      missing = size - len(batch['label'])
      wide = {key: np.concatenate([array, array[:1].repeat(missing, 0)]) if missing else array
              for key, array in batch.items()}
      wide['mask'][size - missing :] = False
      masks.append(wide['mask'])
      yield {**wide, **sharding.put_batch({'image': wide['image']}, mesh)}

  found = collect(views, placed(), CLASSES)
  assert list(found) == names
  keep = np.concatenate(masks)
  for name, gates in found.items():
    stored = np.concatenate(seen[name])[keep].astype(np.float64)
    assert gates.weights.count.tolist() == [14, 13, 13] and len(stored) == IMAGES
    assert gates.saturation.count == stored.size
    for label in range(CLASSES):
      of_class = stored[labels == label]
      np.testing.assert_allclose(gates.weights.mean()[label], of_class.mean(0), rtol=1e-12)
      np.testing.assert_allclose(
        gates.weights.squares[label], (of_class**2).sum(0), rtol=1e-12)
    # XLA rounds the weights themselves differently in another batch.
    np.testing.assert_allclose(stored, program(images)[name]['weights'], rtol=1e-5)


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
