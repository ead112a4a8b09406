"""The TPU backend's own forms against the plain ones; they run on every platform."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax.ops import attention, convolution, get_backend, tpu


@pytest.mark.parametrize(('channels', 'kernel', 'stride'), [
  (6, 3, 1), (6, 5, 1), (tpu.FEW, 3, 1), (tpu.FEW + 1, 3, 1), (6, 3, 2)
])
def test_depthwise_conv(channels, kernel, stride):
  random = np.random.default_rng(0)
  draw = lambda *shape: jnp.asarray(random.normal(size=shape))
  with jax.enable_x64(True):
    x, weights, bias = draw(2, 7, 9, channels), draw(kernel, kernel, channels), draw(channels)
    results = []
    for function in (tpu.depthwise_conv, convolution.depthwise_conv):
      apply = lambda x, weights, bias, function=function: function(
        x, weights, stride, ((1, 2), (0, 1)), bias, 'swish'
      )
      loss = lambda *values, apply=apply: jnp.sin(apply(*values)).sum()
      results.append((apply(x, weights, bias), jax.grad(loss, (0, 1, 2))(x, weights, bias)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10), *results)


@pytest.mark.parametrize(('channels', 'groups'), [(tpu.FEW, 1), (tpu.FEW + 1, tpu.FEW + 1)])
def test_few_channels_are_one_dense_convolution(channels, groups):
  x, kernel = jnp.zeros((1, 4, 4, channels)), jnp.zeros((3, 3, channels))
  program = jax.make_jaxpr(
    lambda x, kernel: get_backend('tpu').depthwise_conv(x, kernel, 1, ((1, 1), (1, 1)))
  )(x, kernel)
  (equation,) = (
    each for each in program.eqns if each.primitive.name == 'conv_general_dilated'
  )
  assert equation.params['feature_group_count'] == groups


@pytest.mark.parametrize('shape', [(2, 56, 56, 3), (2, 1, 13, 3), (2, 2, 6, 10, 3)])
def test_pixel_mean(shape):
  x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
  results = []
  for function in (tpu.pixel_mean, attention.pixel_mean):
    loss = lambda x, function=function: jnp.sin(function(x)).sum()
    results.append((function(x), jax.grad(loss)(x)))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *results)
