"""Squeeze and reweighting: the kernels against autodiff of the plain references."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax.ops import attention
from ecanet_jax.ops.batch_norm import ACTIVATIONS, plain_batch_norm


def results(squeeze, reweight, x, cotangent):
  def both(x):
    y, pull = jax.vjp(lambda x: reweight(x, jax.nn.sigmoid(3 * squeeze(x) + 1)), x)
    return squeeze(x), y, *pull(cotangent)

  return jax.jit(both)(x)


@pytest.mark.parametrize('dtype', ['float64', 'float32'])
@pytest.mark.parametrize('shape', [(1, 1, 1, 3), (3, 7, 5, 29), (2, 8, 8, 16)])
def test_kernels_equal_the_references(shape, dtype, load_kernels):
  load_kernels(dtype)
  with jax.enable_x64(dtype == 'float64'):
    random = np.random.default_rng(0)
    x, cotangent = (jnp.asarray(random.standard_normal(shape), dtype) for _ in range(2))
    mine = results(attention._native_squeeze, attention._native_reweight, x, cotangent)
    plain = results(attention.plain_squeeze, attention.plain_reweight, x, cotangent)
    tolerance = 1e-12 if dtype == 'float64' else 1e-5
    for name, a, b in zip(('squeeze', 'y', 'dx'), mine, plain):
      assert a.dtype == b.dtype and a.shape == b.shape, name
      np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize('kind', ['weights', 'other shape'])
def test_attend_has_both_gradients(kind, load_kernels, monkeypatch):
  load_kernels('float64')
  monkeypatch.setattr(attention.cpu, 'usable', lambda *arrays: True)  # also with 8 devices
  with jax.enable_x64(True):
    random = np.random.default_rng(0)
    x, cotangent = (jnp.asarray(random.standard_normal((3, 7, 5, 29))) for _ in range(2))

    def weights_of(squeezed, mix):
      weights = jax.nn.sigmoid(3 * squeezed + mix[None, None, None])
      return weights if kind == 'weights' else weights[:, :, :, :1]

    def gradients(function):
      y, pull = jax.vjp(function, x, jnp.linspace(-1, 1, 29))
      return y, *pull(cotangent)

    plain = lambda x, mix: x * weights_of(x.mean((1, 2), keepdims=True), mix)
    mine = lambda x, mix: attention.attend(x, lambda squeezed: weights_of(squeezed, mix))
    for a, b in zip(gradients(mine), gradients(plain)):
      np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_weights_of_every_pixel_and_bfloat16_take_the_plain_way():
  x = jnp.ones((2, 4, 4, 8), jnp.bfloat16)
  assert attention.squeeze(x).dtype == jnp.float32
  assert attention.reweight(x, 2 * x).dtype == jnp.bfloat16


SIZES = [((1, 1, 2, 3), 1), ((4, 7, 5, 29), 2), ((4, 20, 20, 16), 4)]


@pytest.mark.parametrize('dtype', ['float64', 'float32'])
@pytest.mark.parametrize('activation', ACTIVATIONS)
@pytest.mark.parametrize(('shape', 'groups'), SIZES)
def test_attention_behind_batch_norm(shape, groups, activation, dtype, load_kernels):
  load_kernels(dtype)
  with jax.enable_x64(dtype == 'float64'):
    random = np.random.default_rng(0)
    x, cotangent = (jnp.asarray(random.standard_normal(shape) + 1, dtype) for _ in range(2))
    parameters = [jnp.asarray(random.standard_normal(shape[-1]), dtype) for _ in range(3)]
    origin = jnp.full(shape[-1], 0.5, dtype)

    def weights_of(squeezed, mix):
      return jax.nn.sigmoid(3 * squeezed + mix[None, None, None])

    def mine(x, scale, bias, mix):
      y, mean, var = attention.normalised(x, scale, bias, origin, 1e-3, activation, groups)
      return attention.attend(y, lambda squeezed: weights_of(squeezed, mix)), mean, var

    def plain(x, scale, bias, mix):
      y, mean, var = plain_batch_norm(
        x.reshape(groups, -1, shape[-1]), scale, bias, origin, 1e-3, activation
      )
      y = y.reshape(shape)
      return y * weights_of(y.mean((1, 2), keepdims=True), mix), mean, var

    def everything(function):
      def run(x, *parameters):
        results, pull = jax.vjp(function, x, *parameters)
        return *results, *pull((cotangent, *map(jnp.zeros_like, results[1:])))

      return jax.jit(run)(x, *parameters)

    names = ('y', 'mean', 'var', 'dx', 'dscale', 'dbias', 'dmix')
    tolerance = 1e-10 if dtype == 'float64' else 1e-4
    for name, a, b in zip(names, everything(mine), everything(plain), strict=True):
      assert a.dtype == b.dtype and a.shape == b.shape, name
      scale = max(1.0, float(jnp.abs(b).max()))
      np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale, err_msg=name)


def test_behind_batch_norm_weights_of_another_shape(load_kernels):
  load_kernels('float64')
  with jax.enable_x64(True):
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 7, 5, 29)))
    one, zero = jnp.ones(29), jnp.zeros(29)
    weights_of = lambda squeezed: jax.nn.sigmoid(squeezed + 1)[..., :1]

    def mine(x):
      y, *_ = attention.normalised(x, one, zero, zero, 1e-3, 'swish')
      return attention.attend(y, weights_of)

    def plain(x):
      y = plain_batch_norm(x.reshape(1, -1, 29), one, zero, zero, 1e-3, 'swish')[0].reshape(x.shape)
      return y * weights_of(y.mean((1, 2), keepdims=True))

    for a, b in zip(jax.vjp(mine, x)[1](x), jax.vjp(plain, x)[1](x), strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
