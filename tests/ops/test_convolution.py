"""Convolution of all channels: values and gradients are those of XLA's and its autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax.nn.pooling import explicit_padding
from ecanet_jax.ops import convolution as ops


def results(function, arrays):
  """The value and the gradients, in one compiled program without LLVM's optimisations."""

  def both(*arrays):
    y, pull = jax.vjp(function, *arrays)
    return y, *pull(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

  return jax.jit(both, compiler_options={'xla_backend_optimization_level': 0})(*arrays)


def compare(mine, reference, tolerance):
  for name, a, b in zip(('y', 'dx', 'dkernel', 'dbias'), mine, reference):
    assert a.shape == b.shape and a.dtype == b.dtype, name
    np.testing.assert_allclose(
      a, b, rtol=tolerance, atol=tolerance * max(1.0, float(jnp.abs(b).max())), err_msg=name
    )


def arrays(dtype, batch, size, k, channels, features):
  random = np.random.default_rng(0)
  shapes = (batch, *size, channels), (k, k, channels, features)
  return [jnp.asarray(random.standard_normal(shape), dtype) for shape in shapes]


@pytest.mark.parametrize(('k', 'stride', 'size', 'padding'), [
  (3, 2, (8, 8), ((0, 1), (0, 1))),
  (3, 2, (9, 7), ((1, 1), (1, 1))),
  (3, 1, (5, 6), ((1, 1), (1, 1))),
  (2, 3, (7, 8), ((0, 0), (2, 1))),
])
def test_windows_in_float64(k, stride, size, padding):
  with jax.enable_x64(True):
    data = arrays(np.float64, 2, size, k, 3, 5)
    window, plain = (
      results(lambda *a, f=f: f(*a, stride, padding), data)
      for f in (ops.window_conv, ops.plain_conv)
    )
    compare(window, plain, 1e-12)


# Odd and even sizes, images that are smaller than a tile, larger than a task and than a band of the
# kernel's gradient, all numbers of vectors in a panel, and channels that fill no vector.
NATIVE = [
  # k, stride, rule, batch, size, channels, features
  pytest.param(*(1, 1, 'valid', 1, (1, 1), 3, 5), marks=pytest.mark.slow),
  (1, 1, 'valid', 2, (9, 7), 13, 24),
  (1, 1, 'valid', 3, (23, 20), 24, 70),
  (1, 2, 'valid', 2, (9, 8), 8, 40),
  pytest.param(*(2, 2, 'same', 1, (5, 6), 3, 1), marks=pytest.mark.slow),
  pytest.param(*(3, 1, 'symmetric', 1, (5, 6), 1, 16), marks=pytest.mark.slow),
  (3, 1, 'valid', 2, (9, 7), 5, 49),
  (3, 2, 'same', 2, (8, 8), 3, 33),
  pytest.param(*(3, 2, 'symmetric', 3, (9, 7), 17, 8), marks=pytest.mark.slow),
  (3, 2, 'valid', 1, (30, 29), 4, 20),
  pytest.param(*(5, 1, 'same', 1, (4, 9), 3, 30), marks=pytest.mark.slow),
  (5, 2, 'symmetric', 2, (11, 6), 9, 5),
  pytest.param(*(7, 1, 'symmetric', 1, (7, 8), 2, 17), marks=pytest.mark.slow),
  (7, 2, 'symmetric', 1, (16, 15), 3, 64),
]


@pytest.mark.parametrize('dtype', ['float64', pytest.param('float32', marks=pytest.mark.slow)])
@pytest.mark.parametrize(('k', 'stride', 'rule', 'batch', 'size', 'channels', 'features'), NATIVE)
def test_kernels_equal_the_reference(
  k, stride, rule, batch, size, channels, features, dtype, load_kernels
):
  load_kernels(dtype)
  with jax.enable_x64(dtype == 'float64'):
    padding = explicit_padding(rule, size, k, stride)
    assert ops._native_applies(jnp.zeros((batch, *size, channels)),
                               jnp.zeros((k, k, channels, features)), stride, padding, 1)
    data = arrays(dtype, batch, size, k, channels, features)
    native, plain = (
      results(lambda *a, f=f: f(*a, stride, padding), data)
      for f in (ops.native_conv, ops.plain_conv)
    )
    compare(native, plain, 1e-12 if dtype == 'float64' else 3e-6)


# Odd and even sizes, tiles that hang over on any side, more and fewer tiles than a task, more
# slices of the kernel's gradient than one, all numbers of vectors in a panel.
@pytest.mark.parametrize('dtype', ['float64', pytest.param('float32', marks=pytest.mark.slow)])
@pytest.mark.parametrize(('padding', 'batch', 'size', 'channels', 'features'), [
  (((1, 1), (1, 1)), 2, (5, 6), 16, 48),
  (((0, 0), (0, 0)), 1, (9, 8), 32, 16),
  (((0, 1), (2, 0)), 3, (7, 4), 16, 64),
  (((1, 1), (1, 1)), 3, (31, 30), 32, 16),
])
def test_winograd_equals_the_reference(
  padding, batch, size, channels, features, dtype, load_kernels
):
  load_kernels(dtype)
  with jax.enable_x64(dtype == 'float64'):
    data = arrays(dtype, batch, size, 3, channels, features)
    winograd = results(lambda *a: ops.native_conv(*a, 1, padding, True), data)
    plain = results(lambda *a: ops.plain_conv(*a, 1, padding), data)
    compare(winograd, plain, 1e-12 if dtype == 'float64' else 1e-5)


def test_winograd_is_taken_where_it_was_measured_to_be_faster():
  def choice(batch, size, k=3, stride=1, channels=64):
    x, kernel = jnp.zeros((batch, size, size, channels)), jnp.zeros((k, k, channels, 64))
    return ops._choose(x, kernel, stride, ((1, 1), (1, 1)), '', fits=True)

  assert choice(16, 56) == choice(16, 7) == choice(1, 28) == 'winograd'
  fewer = choice(1, 14), choice(16, 56, k=5), choice(16, 56, stride=2), choice(16, 56, channels=24)
  assert {*fewer, choice(64, 3)} == {'native'}  # 9 of a tile's 16 pixels


@pytest.mark.parametrize('activation', ['', 'relu', 'relu6', 'swish'])
@pytest.mark.parametrize(('features', 'winograd'), [(16, False), (21, False), (32, True)])
def test_bias_and_activation(activation, features, winograd, load_kernels):
  load_kernels('float64')
  with jax.enable_x64(True):
    x, kernel = arrays('float64', 2, (6, 5), 3, 16 if winograd else 4, features)
    bias = jnp.linspace(-1.0, 4.0, features)
    mine = results(lambda *a: ops._native_biased(*a, 1, ((1, 1), (1, 1)), activation, winograd),
                   (x, kernel, bias))
    plain = results(
      lambda x, kernel, bias: ops.add_bias(
        ops.plain_conv(x, kernel, 1, ((1, 1), (1, 1))), bias, activation
      ), (x, kernel, bias),
    )
    compare(mine, plain, 1e-12)


def test_a_product_has_the_kernel_gradient_of_the_reference(load_kernels):
  load_kernels('float64')
  with jax.enable_x64(True):
    data = arrays('float64', 2, (9, 8), 1, 11, 19)
    for stride in (1, 2):
      mine = results(lambda *a, s=stride: ops.product_conv(*a, s), data)
      plain = results(lambda *a, s=stride: ops.plain_conv(*a, s, ops.NO_PADDING), data)
      compare(mine, plain, 1e-12)


@pytest.mark.parametrize('implementation', ['auto', 'window', 'plain'])
@pytest.mark.parametrize(('k', 'stride', 'padding', 'groups'), [
  (1, 2, ((0, 0), (0, 0)), 1), (1, 1, ((1, 1), (1, 1)), 1), (3, 1, ((1, 1), (1, 1)), 2),
  (3, 3, ((1, 1), (1, 1)), 1),
])
def test_every_choice_computes_the_same(implementation, k, stride, padding, groups):
  x, kernel = arrays('float32', 2, (7, 6), k, 4, 8)
  kernel = kernel[:, :, : 4 // groups]
  y = ops.conv(x, kernel, stride, padding, groups, jnp.ones(8), 'relu', implementation)
  reference = jax.lax.conv_general_dilated(
    x, kernel, (stride, stride), padding, dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    feature_group_count=groups,
  )
  np.testing.assert_allclose(y, jax.nn.relu(reference + 1), rtol=1e-5, atol=1e-5)


def test_a_choice_that_is_not_known_or_does_not_apply_is_refused():
  x, kernel = arrays('float32', 1, (4, 4), 3, 2, 2)
  with pytest.raises(ValueError, match=r"unknown convolution implementation 'fast'. Known: auto"):
    ops.conv(x, kernel, 1, ((1, 1), (1, 1)), implementation='fast')
  with pytest.raises(ValueError, match=r"'native' is for one CPU device and float32 or float64"):
    ops.conv(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16), 1, ((1, 1), (1, 1)),
             implementation='native')
