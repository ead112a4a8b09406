"""Mean attention weights by class, against forward hooks on timm's network."""

import functools

import numpy as np
import pytest

from ecanet_jax.analysis.gates import collect, viewer
from ecanet_jax.models import create_model

torch = pytest.importorskip('torch')
twins = pytest.importorskip('tests.support.twins')

CLASSES, IMAGES, SIZE = 3, 8, 32


@pytest.mark.parametrize('name', ['eca_resnet18', 'seresnet18'])
def test_means_by_class(name):
  from ecanet_jax.weights import from_torch

  model = create_model(name, num_classes=CLASSES)
  twin = twins.make_twin(name, num_classes=CLASSES)
  twins.randomise_statistics(twin)
  state = {key: tensor.numpy().copy() for key, tensor in twin.state_dict().items()}
  images = np.random.default_rng(1).normal(size=(IMAGES, SIZE, SIZE, 3)).astype(np.float32)
  labels = np.arange(IMAGES) % CLASSES

  seen, squeezed = {}, {}
  for stage in range(4):
    for index, block in enumerate(getattr(twin, f'layer{stage + 1}')):
      key = f'blocks_{stage}_{index}'
      block.se.gate.register_forward_hook(
        lambda module, given, result, key=key: seen.__setitem__(key, result))
      block.se.register_forward_hook(
        lambda module, given, result, key=key: squeezed.__setitem__(key, given[0].mean((2, 3))))
  twins.twin_logits(twin, images)

  variables = from_torch(model, state)
  views = functools.partial(viewer(model), variables)
  found = collect(views, [
    {'image': images[rows], 'label': labels[rows], 'mask': np.ones(4, bool)}
    for rows in (slice(0, 4), slice(4, 8))
  ], CLASSES)
  assert list(found) == list(seen) and len(seen) == 8
  ours = views(images)
  for key, gates in found.items():
    theirs = seen[key].numpy().reshape(IMAGES, -1).astype(np.float64)
    assert theirs.std() > 1e-3
    for label in range(CLASSES):
      np.testing.assert_allclose(
        gates.weights.mean()[label], theirs[labels == label].mean(0), rtol=1e-5)
    assert twins.relative(np.asarray(ours[key]['squeeze']), squeezed[key].numpy()) <= 1e-5
