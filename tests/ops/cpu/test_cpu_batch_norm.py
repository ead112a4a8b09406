"""BatchNorm with its activation: the CPU kernels against autodiff of the plain form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax.ops import batch_norm as plain
from ecanet_jax.ops.cpu import batch_norm as cpu
from ecanet_jax.ops.cpu import kernels
from ecanet_jax.ops.cpu.kernels import FUSED

RESULTS = ('y', 'mean', 'var', 'dx', 'dscale', 'dbias')


def arrays(groups, rows, channels, dtype, mean=0.3):
  random = np.random.default_rng(0)
  normal = lambda *shape: jnp.asarray(random.standard_normal(shape), dtype)
  shape = (4 * groups, rows, 1, channels)  # each group has four images
  x = 2 * normal(*shape) + mean
  return x, normal(channels) + 1, normal(channels), jnp.full(channels, 0.9 * mean, dtype), (
    normal(*shape)
  )


def results(backend, x, scale, bias, origin, cotangent, activation, groups):
  def both(x, scale, bias):
    forward = lambda *a: backend.batch_norm(*a, origin, 1e-3, activation, groups)
    (y, mean, var), pull = jax.vjp(forward, x, scale, bias)
    return y, mean, var, *pull((cotangent, jnp.zeros_like(mean), jnp.zeros_like(var)))

  return jax.jit(both)(x, scale, bias)


def same(mine, reference, tolerance):
  for name, a, b in zip(RESULTS, mine, reference):
    assert a.dtype == b.dtype and a.shape == b.shape, name
    limit = tolerance * max(1.0, float(jnp.abs(b).max()))
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=limit, err_msg=name)


# 29 channels: a vector and a part of one; rows of one, of less and of more than the chunks.
@pytest.mark.parametrize('activation', [*FUSED, 'hard_swish'])
@pytest.mark.parametrize('shape', [(1, 2, 29), (1, 75, 3), (3, 45, 16)])
def test_kernels_equal_the_reference_in_float64(activation, shape, load_kernels):
  load_kernels('float64')
  with jax.enable_x64(True):
    data = arrays(*shape, np.float64)
    mine, reference = (results(backend, *data, activation, shape[0]) for backend in (cpu, plain))
    same(mine, reference, 1e-12)


@pytest.mark.parametrize('activation', [*FUSED, 'hard_swish'])
def test_kernels_equal_the_reference_in_float32(activation, load_kernels):
  load_kernels('float32')
  data = arrays(2, 70, 40, np.float32)
  mine, reference = (results(backend, *data, activation, 2) for backend in (cpu, plain))
  same(mine, reference, 2e-5)
  again = results(cpu, *data, activation, 2)
  assert all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(mine, again))


def test_large_means_keep_their_variance(load_kernels):
  load_kernels('float32')
  x, scale, bias, origin, _ = arrays(1, 200, 16, np.float32, mean=1000.0)
  _, mean, var = cpu.batch_norm(x, scale, bias, origin, 1e-5)
  exact = np.asarray(x, np.float64).reshape(1, -1, 16)
  np.testing.assert_allclose(mean, exact.mean(1), rtol=1e-6)
  np.testing.assert_allclose(var, exact.var(1), rtol=2e-2)  # the origin is 100 off


@pytest.mark.parametrize('extreme', [0.0, 80.0, 200.0, 1e30])
def test_swish_does_not_overflow(extreme, load_kernels):
  load_kernels('float32')
  z = jnp.asarray([[[-extreme] * 16 + [extreme] * 16]], jnp.float32)
  one, zero = jnp.ones((1, 32), jnp.float32), jnp.zeros((1, 32), jnp.float32)
  y = kernels.call('norm_apply', z.shape, z, one, zero, one, activation=FUSED['swish'])
  np.testing.assert_allclose(y, jax.nn.silu(z), rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize('activation', [*FUSED, 'hard_swish'])
def test_scale_and_shift(activation, load_kernels):
  load_kernels('float32')
  x, scale, shift, *_ = arrays(1, 9, 21, np.float32)

  def everything(backend):
    y, pull = jax.vjp(lambda *a: backend.scale_shift(*a, activation), x, scale, shift)
    return y, *pull(jnp.cos(y))

  for a, b in zip(everything(cpu), everything(plain), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4)


def test_without_a_compiler_xla_alone_is_used(monkeypatch, tmp_path, heard):
  monkeypatch.setenv('CXX', '/nowhere/c++')
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  assert kernels.library.__wrapped__('float32') is None
  assert 'CPU kernels are not used, which is slower' in heard.text
  assert '/nowhere/c++' in heard.text
  monkeypatch.setenv('CXX', 'false')
  assert kernels.library.__wrapped__('float32') is None and 'false failed' in heard.text
