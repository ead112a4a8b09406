"""BatchNorm with its activation: the kernels against autodiff of the plain reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax.ops import cpu
from ecanet_jax.ops.batch_norm import ACTIVATIONS, batch_norm, native_batch_norm, plain_batch_norm

RESULTS = ('y', 'mean', 'var', 'dx', 'dscale', 'dbias')


def arrays(groups, rows, channels, dtype, mean=0.3):
  random = np.random.default_rng(0)
  normal = lambda *shape: jnp.asarray(random.standard_normal(shape), dtype)
  x = 2 * normal(groups, rows, channels) + mean
  return x, normal(channels) + 1, normal(channels), jnp.full(channels, 0.9 * mean, dtype), (
    normal(groups, rows, channels)
  )


def results(function, x, scale, bias, origin, cotangent, activation):
  def both(x, scale, bias):
    forward = lambda *a: function(*a, origin, 1e-3, activation)
    (y, mean, var), pull = jax.vjp(forward, x, scale, bias)
    return y, mean, var, *pull((cotangent, jnp.zeros_like(mean), jnp.zeros_like(var)))

  return jax.jit(both)(x, scale, bias)


def same(mine, reference, tolerance):
  for name, a, b in zip(RESULTS, mine, reference):
    assert a.dtype == b.dtype and a.shape == b.shape, name
    limit = tolerance * max(1.0, float(jnp.abs(b).max()))
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=limit, err_msg=name)


# 29 channels: a vector and a part of one; rows of one, of less and of more than the chunks.
@pytest.mark.parametrize('activation', ACTIVATIONS)
@pytest.mark.parametrize('shape', [(1, 2, 29), (1, 75, 3), (3, 45, 16)])
def test_kernels_equal_the_reference_in_float64(activation, shape, load_kernels):
  load_kernels('float64')
  with jax.enable_x64(True):
    data = arrays(*shape, np.float64)
    mine, reference = (
      results(f, *data, activation) for f in (native_batch_norm, plain_batch_norm)
    )
    same(mine, reference, 1e-12)


@pytest.mark.parametrize('activation', ACTIVATIONS)
def test_kernels_equal_the_reference_in_float32(activation, load_kernels):
  load_kernels('float32')
  data = arrays(2, 70, 40, np.float32)
  mine, reference = (results(f, *data, activation) for f in (native_batch_norm, plain_batch_norm))
  same(mine, reference, 2e-5)
  again = results(native_batch_norm, *data, activation)
  assert all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(mine, again))


def test_large_means_keep_their_variance(load_kernels):
  load_kernels('float32')
  x, scale, bias, origin, _ = arrays(1, 200, 16, np.float32, mean=1000.0)
  _, mean, var = native_batch_norm(x, scale, bias, origin, 1e-5, '')
  exact = np.asarray(x, np.float64)
  np.testing.assert_allclose(mean, exact.mean(1), rtol=1e-6)
  np.testing.assert_allclose(var, exact.var(1), rtol=2e-2)  # the origin is 100 off


@pytest.mark.parametrize('extreme', [0.0, 80.0, 200.0, 1e30])
def test_swish_does_not_overflow(extreme, load_kernels):
  load_kernels('float32')
  z = jnp.asarray([[[-extreme] * 16 + [extreme] * 16]], jnp.float32)
  one, zero = jnp.ones((1, 32), jnp.float32), jnp.zeros((1, 32), jnp.float32)
  y = cpu.call('norm_apply', z.shape, z, one, zero, one, activation=ACTIVATIONS['swish'])
  np.testing.assert_allclose(y, jax.nn.silu(z), rtol=1e-6, atol=1e-30)


def test_a_name_chooses_the_implementation():
  x, scale, bias, origin, _ = arrays(1, 9, 4, np.float32)
  for name in ('auto', 'plain'):
    same(batch_norm(x, scale, bias, origin, 1e-3, 'relu', name),
         plain_batch_norm(x, scale, bias, origin, 1e-3, 'relu'), 1e-6)
  with pytest.raises(ValueError, match=r"'plane'.*Known: auto, native, plain"):
    batch_norm(x, scale, bias, origin, 1e-3, '', 'plane')
  with pytest.raises(ValueError, match=r"'native' is for one CPU device .* here 8 cpu devices"):
    batch_norm(x, scale, bias, origin, 1e-3, '', 'native')  # the tests have eight


def test_without_a_compiler_xla_alone_is_used(monkeypatch, tmp_path, caplog):
  caplog.set_level('WARNING', 'absl')  # a test before may have started the programs' log
  monkeypatch.setenv('CXX', '/nowhere/c++')
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  assert cpu.library.__wrapped__('float32') is None
  assert 'CPU kernels are not used, which is slower' in caplog.text
  assert '/nowhere/c++' in caplog.text
  monkeypatch.setenv('CXX', 'false')
  assert cpu.library.__wrapped__('float32') is None and 'false failed' in caplog.text
  monkeypatch.setenv('ECANET_JAX_NATIVE', '0')
  assert cpu.library.__wrapped__('float32') is None
