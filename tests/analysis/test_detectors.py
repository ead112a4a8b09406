"""The backbones of detectors are analysed as networks without a classifier."""

import jax
import numpy as np
import pytest

from ecanet_jax.analysis.effect.change import score
from ecanet_jax.analysis.gap import squeezed_channels
from ecanet_jax.analysis.gates import viewer
from ecanet_jax.analysis.kernels import kernels_of
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights.detectors.backbone import backbone_of
from ecanet_jax.weights.loaded_weights import LoadedWeights
from tests.support.small_detector import configured

IMAGES = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)


def loaded():
  section = configured().model.to_dict()
  weights = LoadedWeights(section, {}, '', {}, {}, '')
  model = weights.create()
  key = jax.random.key(0)
  variables = jax.jit(lambda: model.init(key, IMAGES[:1], train=False))()
  return LoadedWeights(section, {}, '', jax.device_get(variables), {}, '')


def test_the_backbone_alone():
  weights = loaded()
  alone = backbone_of(weights)
  model = alone.create()
  assert model == weights.create().backbone and alone.model['num_classes'] == 0
  kernels = kernels_of(model, alone.variables, 'title').kernels
  assert [kernel.block for kernel in kernels] == [block.name for block in model.blocks()]
  views = viewer(model)(alone.variables, IMAGES)
  found = squeezed_channels(model)(alone.variables, IMAGES)
  for name, view in views.items():
    np.testing.assert_allclose(found[name], view['squeeze'], rtol=1e-6)
  with pytest.raises(UserError, match='has no classifier'):
    score(model, alone.variables, [], {}, {})
