"""Channel attention: the CPU kernels against autodiff of the plain forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax.ops import attention as plain
from ecanet_jax.ops.cpu import attention as cpu
from ecanet_jax.ops.cpu.kernels import FUSED


def weights_of(squeezed, mix):
  return jax.nn.sigmoid(3 * squeezed + mix[None, None, None])


@pytest.mark.parametrize('dtype', ['float64', 'float32'])
@pytest.mark.parametrize('shape', [(1, 1, 1, 3), (3, 7, 5, 29), (2, 8, 8, 16)])
def test_attend_equals_the_plain_form(shape, dtype, load_kernels):
  load_kernels(dtype)
  with jax.enable_x64(dtype == 'float64'):
    random = np.random.default_rng(0)
    x, cotangent = (jnp.asarray(random.standard_normal(shape), dtype) for _ in range(2))
    mix = jnp.linspace(-1, 1, shape[-1], dtype=dtype)

    def everything(attend):
      function = lambda x, mix: attend(x, lambda squeezed: weights_of(squeezed, mix))
      y, pull = jax.vjp(function, x, mix)
      return y, *pull(cotangent)

    mine, theirs = (jax.jit(everything, static_argnums=0)(f) for f in (cpu.attend, plain.attend))
    tolerance = 1e-12 if dtype == 'float64' else 1e-5
    for name, a, b in zip(('y', 'dx', 'dmix'), mine, theirs, strict=True):
      assert a.dtype == b.dtype and a.shape == b.shape, name
      scale = max(1.0, float(jnp.abs(b).max()))
      np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale, err_msg=name)


def test_bfloat16_takes_the_plain_form():
  x = jnp.ones((2, 4, 4, 8), jnp.bfloat16)
  assert cpu.attend(x, lambda squeezed: 2 * squeezed).dtype == jnp.bfloat16


SIZES = [((1, 1, 2, 3), 1), ((4, 7, 5, 29), 2), ((4, 20, 20, 16), 4)]


@pytest.mark.parametrize('dtype', ['float64', 'float32'])
@pytest.mark.parametrize('activation', [*FUSED, 'hard_swish'])
@pytest.mark.parametrize(('shape', 'groups'), SIZES)
def test_attention_behind_batch_norm(shape, groups, activation, dtype, load_kernels):
  load_kernels(dtype)
  with jax.enable_x64(dtype == 'float64'):
    random = np.random.default_rng(0)
    x, cotangent = (jnp.asarray(random.standard_normal(shape) + 1, dtype) for _ in range(2))
    parameters = [jnp.asarray(random.standard_normal(shape[-1]), dtype) for _ in range(3)]
    origin = jnp.full(shape[-1], 0.5, dtype)

    def behind(backend):
      return lambda x, scale, bias, mix: backend.batch_norm_attend(
        x, scale, bias, origin, 1e-3, activation, groups,
        lambda squeezed: weights_of(squeezed, mix),
      )

    def everything(function):
      def run(x, *parameters):
        results, pull = jax.vjp(function, x, *parameters)
        return *results, *pull((cotangent, *map(jnp.zeros_like, results[1:])))

      return jax.jit(run)(x, *parameters)

    names = ('y', 'mean', 'var', 'dx', 'dscale', 'dbias', 'dmix')
    tolerance = 1e-10 if dtype == 'float64' else 1e-4
    for name, a, b in zip(names, everything(behind(cpu)), everything(behind(plain)), strict=True):
      assert a.dtype == b.dtype and a.shape == b.shape, name
      scale = max(1.0, float(jnp.abs(b).max()))
      np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale, err_msg=name)
