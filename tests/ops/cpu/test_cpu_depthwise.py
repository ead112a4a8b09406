"""Depthwise convolution: the CPU kernels against XLA's grouped convolution and autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax.nn.pooling import explicit_padding
from ecanet_jax.ops import convolution as plain
from ecanet_jax.ops.cpu import depthwise as cpu

ASYMMETRIC = ((0, 3), (2, 1))


def arrays(batch, size, k, stride, padding, dtype=np.float64, channels=3):
  random = np.random.default_rng(0)
  out = [(n + sum(p) - k) // stride + 1 for n, p in zip(size, padding)]
  shapes = (batch, *size, channels), (k, k, channels), (batch, *out, channels)
  return [jnp.asarray(random.standard_normal(shape), dtype) for shape in shapes]


def value_and_gradients(function, x, kernel, cotangent, stride, padding, quick=False):
  def both(x, kernel, cotangent):
    y, pull = jax.vjp(lambda x, kernel: function(x, kernel, stride, padding), x, kernel)
    return y, *pull(cotangent)

  # Compiling is what takes time here: quick leaves LLVM's optimisations out.
  options = {'xla_backend_optimization_level': 0} if quick else None
  return jax.jit(both, compiler_options=options)(x, kernel, cotangent)


def same(mine, reference, tolerance):
  for name, a, b in zip(('forward', 'input gradient', 'kernel gradient'), mine, reference):
    assert a.dtype == b.dtype and a.shape == b.shape, name
    np.testing.assert_allclose(
      np.asarray(a, np.float64), np.asarray(b, np.float64), rtol=tolerance,
      atol=tolerance * max(1.0, float(jnp.abs(b).max())), err_msg=name,
    )


def geometry(k, stride, rule, size):
  return k, stride, size, explicit_padding(rule, size, k, stride)


# Even and odd sizes, sizes below the kernel, rows that no output reaches; k = 7 takes long to
# compile, so the larger kernels have each stride with one of the rules.
GEOMETRIES = [
  *(geometry(3, s, rule, (8, 9)) for s in (1, 2, 3) for rule in ('symmetric', 'same')),
  geometry(5, 1, 'symmetric', (8, 9)),
  geometry(5, 2, 'same', (8, 9)),
  geometry(5, 3, 'symmetric', (2, 4)),
  geometry(7, 1, 'same', (2, 5)),
  geometry(7, 2, 'symmetric', (5, 8)),
  geometry(7, 3, 'same', (8, 5)),
  (3, 2, (7, 6), ASYMMETRIC),
  (3, 3, (8, 7), ((0, 0), (0, 0))),
  (1, 2, (4, 5), ((0, 0), (0, 0))),
  (3, 2, (3, 4), ((4, 5), (3, 6))),  # padding that is wider than the kernel
]


@pytest.fixture(params=['float64', pytest.param('float32', marks=pytest.mark.slow)])
def kernels(request, load_kernels):
  """The type whose kernels are compiled here."""
  load_kernels(request.param)
  return request.param


# 29 channels: vectors of 64 and of 32 bytes, and single ones.
@pytest.mark.parametrize('k, stride, size, padding', [
  case for case in [
    *GEOMETRIES,
    geometry(3, 1, 'symmetric', (14, 21)),  # rows of several tiles
    geometry(5, 2, 'same', (33, 30)),
    geometry(4, 1, 'same', (9, 8)),
    geometry(9, 2, 'symmetric', (11, 24)),
  ] if case[1] < 3
])
@pytest.mark.parametrize('batch', [3, pytest.param(1, marks=pytest.mark.slow)])
def test_value_and_gradients(k, stride, size, padding, batch, kernels):
  with jax.enable_x64(kernels == 'float64'):
    data = arrays(batch, size, k, stride, padding, kernels, channels=29)
    mine, reference = (
      value_and_gradients(f, *data, stride, padding, quick=True)
      for f in (cpu._depthwise, plain.depthwise_conv)
    )
    same(mine, reference, 1e-12 if kernels == 'float64' else 2e-5)
    again = value_and_gradients(cpu._depthwise, *data, stride, padding, quick=True)
    assert all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(mine, again))


# So many that they are shared out, too, and small images, of which a task has parts.
@pytest.mark.slow
@pytest.mark.parametrize('stride, size', [(1, (1, 1)), (1, (2, 3)), (2, (3, 4))])
def test_with_many_channels(stride, size, load_kernels):
  load_kernels('float64')
  padding = explicit_padding('symmetric', size, 5, stride)
  with jax.enable_x64(True):
    data = arrays(19, size, 5, stride, padding, channels=700)
    mine, reference = (
      value_and_gradients(f, *data, stride, padding, quick=True)
      for f in (cpu._depthwise, plain.depthwise_conv)
    )
    same(mine, reference, 1e-12)


@pytest.mark.parametrize('activation', ['', 'relu', 'relu6', 'swish', 'hard_swish'])
def test_bias_and_activation_by_the_kernels(activation, load_kernels):
  load_kernels('float64')
  padding = ((1, 1), (1, 1))
  with jax.enable_x64(True):
    x, kernel, cotangent = arrays(2, (9, 6), 3, 1, padding, channels=29)
    bias = jnp.linspace(-2.0, 3.0, 29)
    mine, theirs = (
      jax.vjp(lambda *a, f=f: f(a[0], a[1], 1, padding, a[2], activation), x, kernel, bias)
      for f in (cpu.depthwise_conv, plain.depthwise_conv)
    )
    for a, b in zip((mine[0], *mine[1](cotangent)), (theirs[0], *theirs[1](cotangent))):
      np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('stride', [1, 3])
def test_other_types_and_strides_take_the_plain_form(stride):
  padding = ((1, 1), (1, 1))
  x, kernel, _ = arrays(2, (7, 8), 3, stride, padding, np.float32)
  x, kernel = (a.astype(jnp.bfloat16) if stride == 1 else a for a in (x, kernel))
  mine, theirs = (f.depthwise_conv(x, kernel, stride, padding) for f in (cpu, plain))
  np.testing.assert_array_equal(mine, theirs)
