"""Stems for small images, and the initial values of the classifier; nothing is trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax import create_model
from ecanet_jax.models.intermediates import stage_features
from ecanet_jax.nn.initializers import initial_values
from ecanet_jax.nn.parameter_shapes import variable_shapes
from ecanet_jax.runtime.errors import UserError


def feature_shapes(model, pixels=32):
  images = jnp.zeros((1, pixels, pixels, 3))
  features = lambda: stage_features(
    model, model.init(jax.random.key(0), images, train=False), images
  )
  return {stride: x.shape[1:] for stride, x in jax.eval_shape(features).items()}


def test_resnets_stem_of_one_3x3():
  model = create_model('eca_resnet18', stem='3x3', stem_width=8, planes=8)
  assert variable_shapes(model)['params']['stem']['kernel'].shape == (3, 3, 3, 8)
  assert feature_shapes(model) == {4: (8, 8, 32), 8: (4, 4, 64)}
  assert create_model('eca_resnet18').stem_stride == 4


@pytest.mark.parametrize('name', ['eca_efficientnet_b0', 'mobilenetv2_100'])
def test_stem_stride(name):
  small, usual = create_model(name, stem_stride=1), create_model(name)
  assert {stride: shape[0] for stride, shape in feature_shapes(small).items()} == {
    4: 8, 8: 4, 16: 2
  }
  same = lambda model: jax.tree.map(lambda leaf: leaf.shape, variable_shapes(model))
  assert same(small) == same(usual)
  with pytest.raises(UserError, match='stem_stride=3 must be 1 or 2'):
    create_model(name, stem_stride=3)


def classifier(name, **fields):
  model = create_model(name, num_classes=10, **fields)
  draw = lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False)
  return initial_values(lambda: draw()['params']['classifier'])['kernel']


def test_first_values_of_the_classifier():
  tiny = classifier('tiny_efficientnet')
  assert np.abs(tiny).max() == pytest.approx(1000**-0.5, rel=0.05)
  assert np.abs(classifier('tiny_efficientnet', classifier_values='timm')).max() == (
    pytest.approx(10**-0.5, rel=0.05)
  )
  # timm's MobileNetV2 follows the rule of its EfficientNet, ours that of torchvision.
  assert classifier('tiny_mobilenetv2').std() == pytest.approx(0.01, rel=0.2)
  assert np.abs(classifier('tiny_mobilenetv2', classifier_values='timm')).max() > 0.28
  np.testing.assert_array_equal(
    classifier('tiny_resnet'), classifier('tiny_resnet', classifier_values='timm')
  )
  with pytest.raises(UserError, match=r"unknown classifier_values 'tim'. Did you mean 'timm'"):
    create_model('resnet18', classifier_values='tim')
