"""Max pooling: the kernels against XLA's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax.ops import pooling as plain
from ecanet_jax.ops.cpu import pooling as cpu


@pytest.mark.parametrize('dtype', ['float64', 'float32'])
@pytest.mark.parametrize(('k', 'stride', 'size', 'padding', 'channels'), [
  (3, 2, (8, 9), ((1, 1), (1, 1)), 29),
  (3, 2, (7, 6), ((0, 1), (0, 0)), 8),
  (2, 2, (6, 4), ((0, 0), (0, 0)), 3),
  (3, 1, (3, 5), ((1, 1), (1, 1)), 16),
])
def test_kernels_equal_the_reference(k, stride, size, padding, channels, dtype, load_kernels):
  load_kernels(dtype)
  with jax.enable_x64(dtype == 'float64'):
    # Few different values: windows with several largest ones are the rule.
    x = jnp.asarray(np.random.default_rng(0).integers(0, 3, (2, *size, channels)), dtype)

    def both(function):
      y, pull = jax.vjp(lambda x: function(x, k, stride, padding), x)
      return y, *pull(1 + jnp.arange(y.size, dtype=dtype).reshape(y.shape))

    mine, theirs = (
      jax.jit(both, static_argnums=0)(function)
      for function in (cpu.max_pool, plain.max_pool)
    )
    for name, a, b in zip(('y', 'dx'), mine, theirs):
      assert a.dtype == b.dtype and a.shape == b.shape, name
      np.testing.assert_array_equal(a, b, err_msg=name)


def test_nan_is_the_largest_value(load_kernels):
  load_kernels('float32')
  x = jnp.zeros((1, 2, 4, 1)).at[0, 1, 0].set(jnp.nan)
  for function in (cpu.max_pool, plain.max_pool):
    np.testing.assert_array_equal(function(x, 2, 2, ((0, 0), (0, 0))).ravel(), [np.nan, 0])
