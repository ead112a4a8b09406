"""Named preprocessing: the values of the code it names, and the default of a file."""

import numpy as np
import pytest

from configs import smoke
from ecanet_jax import create_model
from ecanet_jax.config import schema
from ecanet_jax.data.preprocessing import (
  KEYS,
  PREPROCESSING,
  default_preprocessing,
  describe,
  find_preprocessing,
)
from ecanet_jax.evaluation.evaluate_weights import apply_preprocessing
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.tasks.classification import Classification
from ecanet_jax.weights import read_weights, to_torch, write_state_dict
from tests.support.random_variables import random_variables


@pytest.mark.parametrize(('network', 'dialect', 'name'), [
  ('tf_efficientnet_b0', 'timm', 'tf'), ('tf_eca_efficientnet_b0', 'timm', 'tf'),
  ('tf_efficientnet_b0', 'lukemelas', 'tf'), ('efficientnet_b0', 'timm', 'timm'),
  ('tf_efficientnet_lite0', 'lukemelas', 'lite'), ('efficientnet_lite0', 'timm', 'timm'),
  ('inception_resnet_v2', 'timm', 'inception'), ('tf_efficientnet_b0', 'keras', 'keras'),
  ('resnet50', 'torchvision', 'torchvision'), ('resnet50', 'timm', 'timm'),
  ('legacy_seresnet50', 'cadene', 'torchvision'), ('eca_resnet50_k3557', 'ecanet', 'torchvision'),
])
def test_default(network, dialect, name):
  assert default_preprocessing(network, dialect) == name


def test_every_entry_is_a_data_section():
  for name, entry in PREPROCESSING.items():
    data = entry.data(224)
    assert tuple(data) == KEYS and data['crop_fraction'] == 0.875, name
    config = schema.get_config()
    for key, value in data.items():
      config.data[key] = type(config.data[key])(value)
    assert '224 px' in describe(config.data) and entry.source
  assert find_preprocessing('tf').data(380)['crop_fraction'] == pytest.approx(380 / 412, abs=1e-4)
  with pytest.raises(UserError, match=r"unknown preprocessing 'tim'. Did you mean 'timm'\?"):
    find_preprocessing('tim')


def normalised(name, pixels):
  config = smoke.get_config()
  data = find_preprocessing(name).data(32)
  config.data.mean, config.data.std = tuple(data['mean']), tuple(data['std'])
  return np.asarray(Classification(config).inputs({'image': np.uint8(pixels)}))


def test_values_are_those_of_the_sources_on_pixels():
  """Each source's own arithmetic on bytes, against ours."""
  pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3))
  mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
  keras = (pixels * (1 / 255) - mean) / np.sqrt(std) * (1 / np.sqrt(std))
  sources = {
    'tf': (pixels - mean * 255) / (std * 255), 'lite': (pixels - 127) / 128,
    'inception': (pixels / 255 - 0.5) * 2, 'keras': keras,
  }
  for name, expected in sources.items():
    np.testing.assert_allclose(normalised(name, pixels), expected, atol=2e-6)


@pytest.fixture
def source(tmp_path):
  model = create_model('tiny_efficientnet', num_classes=10)
  path = tmp_path / 'w.npz'
  write_state_dict(str(path), to_torch(model, random_variables(model)))
  return read_weights(path, model={'name': 'tiny_efficientnet'}, preprocessing='lite')


def test_which_preprocessing_an_evaluation_uses(source):
  config = smoke.get_config()
  before = config.data.to_dict()
  assert apply_preprocessing(config, source, 'config', ()) == 'of the config'
  assert config.data.to_dict() == before
  said = apply_preprocessing(config, source, 'weights', ['data.image_size', 'batch_size'])
  assert said == 'lite, but for image_size of the command line'
  assert config.data.mean == (127 / 255,) * 3 and config.data.interpolation == 'bilinear'
  assert config.data.image_size == 32
  assert apply_preprocessing(config, source, 'inception', ()) == 'inception'
  assert config.data.std == (0.5,) * 3 and config.data.image_size == 224
