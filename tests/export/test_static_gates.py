"""Attention as constants: the same as multiplying by them, wherever it stands in a block."""

import jax
import numpy as np
import pytest

from ecanet_jax import create_model
from ecanet_jax.export.forward import forward_of
from ecanet_jax.export.static_gates import fold_gates, mean_gates, without_gates
from ecanet_jax.inference.classifier import Classifier
from ecanet_jax.models.fold import fold_batch_norm
from ecanet_jax.models.intermediates import attention_views
from ecanet_jax.runtime.errors import UserError
from tests.support.random_variables import random_variables

IMAGES = np.random.default_rng(0).normal(size=(5, 32, 32, 3)).astype(np.float32)


def small(position, name='tiny_efficientnet'):
  model = create_model(name, attention={'kind': 'se', 'position': position})
  return model, random_variables(model)


def test_the_mean_weights_do_not_depend_on_the_batches():
  model, variables = small('depthwise')
  gates = mean_gates(model, variables, IMAGES, batch_size=2)
  views = jax.jit(lambda x: attention_views(model, variables, x))(IMAGES)
  assert list(gates) == list(views)
  for name, view in views.items():
    np.testing.assert_allclose(gates[name], np.mean(view['weights'], (0, 1, 2)), rtol=1e-6)


@pytest.mark.parametrize(('name', 'position', 'folded'), [
  ('tiny_efficientnet', 'depthwise', True), ('tiny_efficientnet', 'pre', False),
  ('tiny_resnet', 'end', True),
])
def test_a_kernel_contains_the_weights_or_the_block_multiplies(name, position, folded):
  model, variables = small(position, name)
  gates = mean_gates(model, variables, IMAGES)
  folded_model, arrays = fold_batch_norm(model, variables)
  new, left = fold_gates(folded_model, arrays, gates)
  assert all((value is None) == folded for value in left.values())
  assert not any('attention' in block for block in new['params'].values())

  @jax.jit
  def logits(images):
    with without_gates(left):
      ours = folded_model.apply(new, images, train=False)
    with without_gates(gates):  # multiplies in every block
      multiplied = folded_model.apply(arrays, images, train=False)
    return ours, multiplied, model.apply(variables, images, train=False)

  ours, multiplied, whole = logits(IMAGES)
  np.testing.assert_allclose(ours, multiplied, rtol=1e-4, atol=1e-5)
  assert np.abs(ours - whole).max() > 1e-3


def test_a_network_of_some_static_blocks_has_fewer_convolutions():
  model, variables = small('depthwise')
  data = {'mean': [0.5] * 3, 'std': [0.5] * 3, 'image_size': 32}
  classifier = Classifier(model, variables, data)
  gates = mean_gates(model, variables, IMAGES, ('blocks_1_0', 'blocks_2_0'))
  plain, static = (forward_of(classifier, static_attention=each) for each in (None, gates))
  assert plain.convolutions - static.convolutions == 4
  assert plain.parameters > static.parameters
  assert jax.eval_shape(static.apply, IMAGES).shape == (5, 1000)


@pytest.mark.parametrize(('attention', 'blocks', 'message'), [
  ('none', (), 'the network has no attention; leave --static_attention out'),
  ({'kind': 'se', 'squeeze': 'none'}, (), 'has no weight per channel that could be a constant'),
  ('se', ('blocks_9_9',), "no attention in a block 'blocks_9_9'"),
])
def test_mistakes(attention, blocks, message):
  model = create_model('tiny_efficientnet', attention=attention)
  with pytest.raises(UserError, match=message):
    mean_gates(model, random_variables(model), IMAGES, blocks)
