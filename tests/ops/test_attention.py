"""Squeeze and reweighting: the kernels against autodiff of the plain references."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax.ops import attention


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
  monkeypatch.setattr(attention.native, 'usable', lambda *arrays: True)  # also with 8 devices
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
