"""The weights with which the training of a detector begins."""

import jax
import numpy as np
import pytest

from ecanet_jax.config.trees import plain
from ecanet_jax.detection.from_config import backbone_section, create_from_config
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.training.detector_init import detector_arrays
from ecanet_jax.weights.loaded_weights import LoadedWeights
from tests.support import small_detector
from tests.support.random_variables import random_variables


def weights_of(section, **changes):
  """Random weights of a `model` section, as they would be read."""
  section = {**section, **changes}
  variables = random_variables(create_from_config(section))
  return LoadedWeights(section, {'mean': (0.5,) * 3}, 'of a test', variables, {}, 'timm')


@pytest.fixture(scope='module')
def config():
  return small_detector.configured()


@pytest.fixture(scope='module')
def model(config):
  return create_from_config(config.model)


def test_a_backbone(config, model):
  source = weights_of(backbone_section(plain(config)['model']), num_classes=7)
  arrays = detector_arrays(config, model, source)
  assert all(path.split('/')[1] == 'backbone' for path in arrays)
  stem = source.variables['params']['stem']['kernel']
  np.testing.assert_array_equal(arrays['params/backbone/stem/kernel'], stem)
  count = len(jax.tree.leaves(source.variables))
  assert len(arrays) == count - 2  # without the classifier's kernel and bias


def test_a_backbone_with_other_attention(config, model):
  section = backbone_section(plain(config)['model'])
  with pytest.raises(UserError, match='attention'):
    detector_arrays(config, model, weights_of(section, num_classes=7, attention='se'))


def test_the_same_detector(config, model):
  source = weights_of(plain(config)['model'])
  assert len(detector_arrays(config, model, source)) == len(jax.tree.leaves(source.variables))
  with pytest.raises(UserError, match='the detector has 4 classes and the data 10'):
    detector_arrays(config, model, weights_of(plain(config)['model'], num_classes=4))
