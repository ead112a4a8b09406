"""Convolution: values and gradients of the CPU kernels are those of XLA and autodiff."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax.nn.pooling import explicit_padding
from ecanet_jax.ops import convolution as plain
from ecanet_jax.ops.cpu import convolution as cpu


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


# Odd and even sizes, images that are smaller than a tile, larger than a task and than a band of the
# kernel's gradient, all numbers of vectors in a panel, and channels that fill no vector.
GEOMETRIES = [
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
@pytest.mark.parametrize(
  ('k', 'stride', 'rule', 'batch', 'size', 'channels', 'features'), GEOMETRIES
)
def test_kernels_equal_the_reference(
  k, stride, rule, batch, size, channels, features, dtype, load_kernels
):
  load_kernels(dtype)
  with jax.enable_x64(dtype == 'float64'):
    padding = explicit_padding(rule, size, k, stride)
    assert cpu._applies(jnp.zeros((batch, *size, channels)),
                        jnp.zeros((k, k, channels, features)), stride, padding, 1)
    data = arrays(dtype, batch, size, k, channels, features)
    mine = results(lambda *a: cpu._conv(*a, stride, padding, False), data)
    theirs = results(lambda *a: plain.conv(*a, stride, padding), data)
    compare(mine, theirs, 1e-12 if dtype == 'float64' else 3e-6)


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('k', [1, 2, 3, 5])
def test_taps_without_pixels_are_left_out(k, stride):
  for size, before, after in itertools.product(range(1, 6), range(k), range(k)):
    if size + before + after < k:
      continue
    shape, outputs = (k, 1, 1, 1), (size + before + after - k) // stride + 1
    met = [
      tap for tap in range(k)
      if any(0 <= row * stride + tap - before < size for row in range(outputs))
    ]
    kernel = np.arange(1.0, k + 1).reshape(shape)
    kept, ((first, last), columns) = cpu._without_idle_taps(
      kernel, ((before, after), (0, 0)), (size, 1), stride)
    np.testing.assert_array_equal(kept[:, 0, 0, 0], kernel[met[0]:met[-1] + 1, 0, 0, 0])
    assert columns == (0, 0) and 0 <= first < len(kept) and 0 <= last < len(kept)
    pixels = np.random.default_rng(0).standard_normal(size)
    rows = [np.pad(pixels, pads) for pads in ((before, after), (first, last))]
    windows = [
      np.lib.stride_tricks.sliding_window_view(row, len(taps))[::stride] @ taps.ravel()
      for row, taps in zip(rows, (kernel, kept))
    ]
    np.testing.assert_allclose(*windows)


@pytest.mark.parametrize('size, k, stride', [((1, 2), 3, 1), ((2, 1), 5, 2), ((1, 1), 3, 1)])
def test_images_smaller_than_the_kernel(size, k, stride, load_kernels):
  load_kernels('float64')
  with jax.enable_x64(True):
    padding = explicit_padding('symmetric', size, k, stride)
    data = arrays('float64', 3, size, k, 16, 32)
    mine = results(lambda *a: cpu.conv(*a, stride, padding), data)
    theirs = results(lambda *a: plain.conv(*a, stride, padding), data)
    compare(mine, theirs, 1e-12)


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
    winograd = results(lambda *a: cpu._conv(*a, 1, padding, True), data)
    theirs = results(lambda *a: plain.conv(*a, 1, padding), data)
    compare(winograd, theirs, 1e-12 if dtype == 'float64' else 1e-5)


def test_winograd_is_taken_where_it_was_measured_to_be_faster():
  def choice(batch, size, k=3, stride=1, channels=64):
    x, kernel = jnp.zeros((batch, size, size, channels)), jnp.zeros((k, k, channels, 64))
    return cpu._winograd_pays(x, kernel, stride, ((1, 1), (1, 1)))

  assert choice(16, 56) and choice(16, 7) and choice(1, 28)
  fewer = choice(1, 14), choice(16, 56, k=5), choice(16, 56, stride=2), choice(16, 56, channels=24)
  assert not any((*fewer, choice(64, 3)))  # 9 of a tile's 16 pixels


@pytest.mark.parametrize('activation', ['', 'relu', 'relu6', 'swish'])
@pytest.mark.parametrize(('features', 'winograd'), [(16, False), (21, False), (32, True)])
def test_bias_and_activation(activation, features, winograd, load_kernels):
  load_kernels('float64')
  with jax.enable_x64(True):
    x, kernel = arrays('float64', 2, (6, 5), 3, 16 if winograd else 4, features)
    bias = jnp.linspace(-1.0, 4.0, features)
    padding = ((1, 1), (1, 1))
    mine = results(lambda *a: cpu._biased(*a, 1, padding, activation, winograd), (x, kernel, bias))
    theirs = results(
      lambda x, kernel, bias: plain.conv(x, kernel, 1, padding, 1, bias, activation),
      (x, kernel, bias),
    )
    compare(mine, theirs, 1e-12)


def test_a_product_has_the_kernel_gradient_of_the_reference(load_kernels):
  load_kernels('float64')
  with jax.enable_x64(True):
    data = arrays('float64', 2, (9, 8), 1, 11, 19)
    for stride in (1, 2):
      mine = results(lambda *a, s=stride: cpu._product(*a, s), data)
      theirs = results(lambda *a, s=stride: plain.conv(*a, s, cpu.NO_PADDING), data)
      compare(mine, theirs, 1e-12)


@pytest.mark.parametrize('activation', ['', 'relu', 'hard_swish'])
@pytest.mark.parametrize(('k', 'stride', 'padding', 'groups'), [
  (1, 2, ((0, 0), (0, 0)), 1), (1, 1, ((1, 1), (1, 1)), 1), (3, 1, ((1, 1), (1, 1)), 2),
  (3, 3, ((1, 1), (1, 1)), 1), (3, 1, ((1, 1), (1, 1)), 1),
])
def test_every_choice_computes_the_same(k, stride, padding, groups, activation):
  x, kernel = arrays('float32', 2, (7, 6), k, 4, 8)
  kernel = kernel[:, :, : 4 // groups]
  mine, theirs = (
    ops.conv(x, kernel, stride, padding, groups, jnp.ones(8), activation) for ops in (cpu, plain)
  )
  np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)
