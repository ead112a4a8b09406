"""The shapes of a network's arrays, by path, without computing anything."""

import flax.linen as nn
import jax
import pytest

from ecanet_jax import create_model
from ecanet_jax.nn.parameter_shapes import flat_shapes, parameter_shapes, variable_shapes
from ecanet_jax.runtime.errors import UserError


def test_shapes_are_those_of_the_arrays():
  model = create_model('tiny_efficientnet', num_classes=10)
  shapes = parameter_shapes(model)
  assert shapes['params/classifier/kernel'] == (32, 10)
  assert shapes['batch_stats/stem_bn/mean'] == shapes['params/stem_bn/bias']
  assert shapes == flat_shapes(variable_shapes(model))
  assert {type(leaf) for leaf in jax.tree.leaves(variable_shapes(model))} == {jax.ShapeDtypeStruct}


def test_the_image_size_matters_for_some_networks():
  model = create_model('tiny_resnet', attention='aa')
  assert parameter_shapes(model, 32) != parameter_shapes(model, 64)


def test_a_network_that_cannot_be_built_is_one_line():
  class Broken(nn.Module):
    @nn.compact
    def __call__(self, images, train):
      return images + {}

  with pytest.raises(UserError, match='no Broken can be built from these fields: TypeError'):
    variable_shapes(Broken())
