"""Channel attention behind BatchNorm against its definition: one after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ecanet_jax.ops import get_backend
from ecanet_jax.ops.attention import attend
from ecanet_jax.ops.batch_norm import batch_norm

EPS, BATCH, HEIGHT, WIDTH, CHANNELS = 1e-3, 4, 6, 11, 5


def arguments(dtype):
  random = np.random.default_rng(0)
  draw = lambda *shape: jnp.asarray(random.normal(size=shape), dtype)
  return {
    'x': draw(BATCH, HEIGHT, WIDTH, CHANNELS) + 3, 'scale': draw(CHANNELS), 'bias': draw(CHANNELS),
    'mix': draw(CHANNELS, CHANNELS),
  }


def weights_of(mix):
  return lambda squeezed: jax.nn.sigmoid(squeezed @ mix)


def together(backend, activation, groups):
  def function(x, scale, bias, mix):
    return get_backend(backend).batch_norm_attend(
      x, scale, bias, jnp.ones_like(bias), EPS, activation, groups, weights_of(mix)
    )
  return function


def apart(activation, groups):
  def function(x, scale, bias, mix):
    y, mean, var = batch_norm(x, scale, bias, jnp.ones_like(bias), EPS, activation, groups)
    return attend(y, weights_of(mix)), mean, var
  return function


BACKENDS = pytest.mark.parametrize('backend', ['xla', 'tpu'])
CASES = pytest.mark.parametrize(('activation', 'groups'), [
  ('', 1), ('swish', 1), ('swish', 2), ('relu', 1)
])


@BACKENDS
@CASES
def test_values_and_gradients_are_those_of_the_definition(backend, activation, groups):
  with jax.enable_x64(True):
    values = arguments(jnp.float64)
    results = []
    for function in (together(backend, activation, groups), apart(activation, groups)):
      loss = lambda values, function=function: jnp.sin(function(**values)[0]).sum()
      results.append((function(**values), jax.grad(loss)(values)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), *results)


@BACKENDS
@CASES
def test_both_modes_of_differentiation_agree_with_differences(backend, activation, groups):
  with jax.enable_x64(True):
    first = lambda *values: together(backend, activation, groups)(*values)[0]
    check_grads(first, tuple(arguments(jnp.float64).values()), order=1, modes=('fwd', 'rev'))


@BACKENDS
def test_images_of_bfloat16_give_images_of_bfloat16(backend):
  values = arguments(jnp.float32)
  exact = apart('swish', 1)(**values)[0]
  values['x'] = values['x'].astype(jnp.bfloat16)
  y, mean, var = together(backend, 'swish', 1)(**values)
  assert (y.dtype, mean.dtype, var.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)
  np.testing.assert_allclose(y.astype(jnp.float32), exact, atol=0.1)


@BACKENDS
def test_vmap(backend):
  values = arguments(jnp.float32)
  many = jax.tree.map(lambda value: jnp.stack([value, 2 * value]), values)
  function = together(backend, 'swish', 1)
  y = jax.vmap(lambda values: function(**values)[0])(many)
  np.testing.assert_allclose(y[0], function(**values)[0], rtol=1e-5, atol=1e-6)
