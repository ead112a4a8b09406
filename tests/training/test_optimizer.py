"""Optimizers against PyTorch's, and the set of parameters that decay."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from timm.optim import RMSpropTF

from configs import base
from ecanet_jax import create_model
from ecanet_jax.errors import UserError
from ecanet_jax.training.optimizer import decayed, make_optimizer

SHAPE = (5, 7)


def ours(config, gradients, start):
  tx = make_optimizer(config, lambda step: 0.05 * 0.9**step)
  params = {'layer': {'kernel': jnp.asarray(start)}}
  state = tx.init(params)
  for gradient in gradients:
    updates, state = tx.update({'layer': {'kernel': jnp.asarray(gradient)}}, state, params)
    params = optax.apply_updates(params, updates)
  return np.asarray(params['layer']['kernel'])


def torchs(make, gradients, start):
  parameter = torch.nn.Parameter(torch.tensor(start))
  optimizer = make([parameter])
  for step, gradient in enumerate(gradients):
    optimizer.param_groups[0]['lr'] = 0.05 * 0.9**step
    parameter.grad = torch.tensor(gradient)
    optimizer.step()
  return parameter.detach().numpy()


@pytest.fixture
def inputs():
  random = np.random.RandomState(0)
  gradients = [random.randn(*SHAPE).astype(np.float32) for _ in range(20)]
  return gradients, random.randn(*SHAPE).astype(np.float32)


def test_rmsprop_is_timms_rmsprop_tf(inputs):
  config = base.get_config()
  make = lambda p: RMSpropTF(
    p, alpha=0.9, eps=1e-3, momentum=0.9, weight_decay=1e-5, lr_in_momentum=True
  )
  np.testing.assert_allclose(ours(config, *inputs), torchs(make, *inputs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('nesterov', [False, True])
def test_sgd_is_pytorchs(inputs, nesterov):
  config = base.get_config()
  config.optimizer.name, config.optimizer.nesterov = 'sgd', nesterov
  config.optimizer.weight_decay = 1e-2
  make = lambda p: torch.optim.SGD(
    p, lr=1.0, momentum=0.9, nesterov=nesterov, weight_decay=1e-2
  )
  theirs = torchs(make, *inputs)
  # PyTorch multiplies the rate in after the momentum, as ours does.
  np.testing.assert_allclose(ours(config, *inputs), theirs, rtol=1e-5, atol=1e-6)


def test_clipping_bounds_the_gradient(inputs):
  config = base.get_config()
  config.optimizer.name, config.optimizer.weight_decay = 'sgd', 0.0
  config.optimizer.momentum, config.optimizer.clip_norm = 0.0, 0.5
  gradients, start = inputs
  moved = ours(config, gradients[:1], start) - start
  np.testing.assert_allclose(moved, -0.05 * 0.5 * gradients[0] / np.linalg.norm(gradients[0]),
                             rtol=1e-4, atol=1e-7)


def test_which_parameters_decay():
  model = create_model('efficientnet_b0')
  shapes = jax.eval_shape(
    lambda: model.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)), train=False)
  )['params']
  with_biases = decayed(shapes, biases=True)
  assert with_biases['blocks_1_0']['attention']['reduce'] == {'kernel': True, 'bias': True}
  assert with_biases['blocks_1_0']['expand_bn'] == {'scale': False, 'bias': False}
  assert with_biases['classifier'] == {'kernel': True, 'bias': True}
  without = decayed(shapes, biases=False)
  assert without['classifier'] == {'kernel': True, 'bias': False}
  assert without['blocks_0_0']['depthwise'] == {'kernel': True}


@pytest.mark.parametrize(('key', 'value', 'text'), [
  ('name', 'sdg', "unknown optimizer.name 'sdg'. Did you mean 'sgd'"),
  ('weight_decay', -1.0, 'optimizer.weight_decay=-1.0 must be at least 0'),
  ('clip_norm', -1.0, 'optimizer.clip_norm=-1.0 must be at least 0'),
])
def test_bad_input(key, value, text):
  config = base.get_config()
  config.optimizer[key] = value
  with pytest.raises(UserError, match=text.replace('.', r'\.')):
    make_optimizer(config, lambda step: 0.1)
