"""The depthwise convolution against XLA's grouped one, and its gradients against autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from ecanet_jax.nn.pooling import explicit_padding
from ecanet_jax.ops import depthwise
from ecanet_jax.ops.batch_norm import add_bias
from ecanet_jax.ops.depthwise import (
  depthwise_conv,
  lax_depthwise,
  native_depthwise,
  shift_depthwise,
)

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


@pytest.mark.parametrize('k, stride, size, padding', GEOMETRIES)
def test_value_and_gradients_in_float64(k, stride, size, padding):
  with jax.enable_x64(True):
    data = arrays(2, size, k, stride, padding)
    assert data[0].dtype == jnp.float64
    mine, reference = (
      value_and_gradients(f, *data, stride, padding, quick=True)
      for f in (shift_depthwise, lax_depthwise)
    )
    same(mine, reference, 1e-12)


@pytest.fixture(params=['float64', pytest.param('float32', marks=pytest.mark.slow)])
def kernels(request, load_kernels):
  """The type whose kernels of ops/native are compiled here."""
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
def test_native_value_and_gradients(k, stride, size, padding, batch, kernels):
  with jax.enable_x64(kernels == 'float64'):
    data = arrays(batch, size, k, stride, padding, kernels, channels=29)
    mine, reference = (
      value_and_gradients(f, *data, stride, padding, quick=True)
      for f in (native_depthwise, lax_depthwise)
    )
    same(mine, reference, 1e-12 if kernels == 'float64' else 2e-5)
    again = value_and_gradients(native_depthwise, *data, stride, padding, quick=True)
    assert all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(mine, again))


# So many that they are shared out, too, and small images, of which a task has parts.
@pytest.mark.parametrize('stride, size', [(1, (1, 1)), (1, (2, 3)), (2, (3, 4))])
def test_native_with_many_channels(stride, size, load_kernels):
  load_kernels('float64')
  padding = explicit_padding('symmetric', size, 5, stride)
  with jax.enable_x64(True):
    data = arrays(19, size, 5, stride, padding, channels=700)
    mine, reference = (
      value_and_gradients(f, *data, stride, padding, quick=True)
      for f in (native_depthwise, shift_depthwise)
    )
    same(mine, reference, 1e-12)


@pytest.mark.parametrize('activation', ['', 'relu', 'relu6', 'swish'])
def test_bias_and_activation_by_the_kernels(activation, load_kernels):
  load_kernels('float64')
  padding = ((1, 1), (1, 1))
  with jax.enable_x64(True):
    x, kernel, cotangent = arrays(2, (9, 6), 3, 1, padding, channels=29)
    bias = jnp.linspace(-2.0, 3.0, 29)
    mine, plain = (
      jax.vjp(function, x, kernel, bias) for function in (
        lambda x, kernel, bias: depthwise._native_biased(x, kernel, bias, 1, padding, activation),
        lambda x, kernel, bias: add_bias(
          lax_depthwise(x, kernel, 1, padding), bias, activation),
      )
    )
    for a, b in zip((mine[0], *mine[1](cotangent)), (plain[0], *plain[1](cotangent))):
      np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('stride', [1, 2])
def test_bfloat16_is_near_float32(stride):
  padding = ((1, 1), (1, 1))
  data = arrays(4, (12, 12), 3, stride, padding, jnp.bfloat16)
  mine = value_and_gradients(shift_depthwise, *data, stride, padding)
  exact = value_and_gradients(
    lax_depthwise, *(a.astype(jnp.float32) for a in data), stride, padding
  )
  same(mine, [a.astype(jnp.bfloat16) for a in exact], 2e-2)
  # The sum over images and pixels is in float32: only the result is rounded.
  rounding = jnp.abs(mine[2].astype(jnp.float32) - exact[2]) / jnp.abs(exact[2]).max()
  assert rounding.max() < 2**-8


@pytest.mark.parametrize('stride', [1, 2])
def test_batch_sharded_over_devices_gives_the_same(stride):
  devices = jax.devices()
  if len(devices) < 2:
    pytest.skip('needs XLA_FLAGS=--xla_force_host_platform_device_count=8')
  padding = ((2, 2), (2, 2))
  data = arrays(2 * len(devices), (6, 7), 5, stride, padding, np.float32)
  alone = value_and_gradients(shift_depthwise, *data, stride, padding)
  mesh = jax.make_mesh((len(devices),), ('data',), axis_types=(AxisType.Auto,))
  by_image, everywhere = (NamedSharding(mesh, PartitionSpec(*a)) for a in (('data',), ()))
  placed = [jax.device_put(a, s) for a, s in zip(data, (by_image, everywhere, by_image))]
  spread = value_and_gradients(shift_depthwise, *placed, stride, padding)
  same(spread, alone, 1e-5)


def test_a_name_chooses_the_implementation():
  padding = ((1, 1), (1, 1))
  x, kernel, _ = arrays(1, (5, 5), 3, 1, padding, np.float32)
  for name in ('auto', 'shift', 'lax'):
    y = depthwise_conv(x, kernel, 1, padding, name)
    np.testing.assert_allclose(y, lax_depthwise(x, kernel, 1, padding), rtol=1e-5, atol=1e-5)
  with pytest.raises(ValueError, match=r"'shfit'.*Known: auto, native, shift, lax"):
    depthwise_conv(x, kernel, 1, padding, 'shfit')
  with pytest.raises(ValueError, match=r"'native' is for one CPU device, .* here 8 cpu devices"):
    depthwise_conv(x, kernel, 1, padding, 'native')  # the tests have eight
