"""Convolution on a CPU with both gradients: blocked direct form, Winograd, or a matrix product.

Bias and activation are applied while the sums are in registers. A 1x1 convolution without an
activation is XLA's matrix product. Large enough 3x3 convolutions with stride 1 use Winograd's
F(2x2, 3x3), with 4/9 of the multiplications (Lavin and Gray, 2016).
"""

import functools
import math

import jax
import jax.numpy as jnp

from ecanet_jax.ops import convolution as plain
from ecanet_jax.ops.cpu import kernels
from ecanet_jax.ops.cpu.batch_norm import add_bias
from ecanet_jax.ops.cpu.kernels import FUSED

NO_PADDING = ((0, 0), (0, 0))

WINOGRAD_LANES = 16  # the numbers of channels must be multiples of this
WINOGRAD_TILES = 96  # fewest 2x2 output tiles for which transforming the kernel pays
WINOGRAD_FILLED = 0.7  # smallest share of the tiles' pixels that lies inside the images


def conv(x, kernel, stride, padding, groups=1, bias=None, activation=''):
  """`ops.convolution.conv`."""
  if not kernels.usable(x, kernel) or not _applies(x, kernel, stride, padding, groups):
    return plain.conv(x, kernel, stride, padding, groups, bias, activation)
  kernel, padding = _without_idle_taps(kernel, padding, x.shape[1:3], stride)
  if _is_product(kernel, padding) and not activation:
    return add_bias(_product(x, kernel, stride), bias, '')
  winograd = _winograd_pays(x, kernel, stride, padding)
  if bias is None or activation not in FUSED:
    return add_bias(_conv(x, kernel, stride, padding, winograd), bias, activation)
  return _biased(x, kernel, bias.astype(x.dtype), stride, padding, activation, winograd)


def _without_idle_taps(kernel, padding, sizes, stride):
  """The kernel and the padding without the outer taps that meet nothing but padding.

  They are most of the work where an image is smaller than the kernel: of 3x3 taps on one pixel, one
  is left.
  """
  slices, pads = [], []
  for taps, (before, after), size in zip(kernel.shape, padding, sizes):
    last = (size + before + after - taps) // stride * stride  # offset of the last window
    met = [
      tap for tap in range(taps)
      if any(0 <= row + tap - before < size for row in range(0, last + 1, stride))
    ]
    slices.append(slice(met[0], met[-1] + 1))
    before -= met[0]
    pads.append((before, max(0, last + met[-1] + 1 - met[0] - before - size)))
  return kernel[tuple(slices)], tuple(pads)


def _winograd_pays(x, kernel, stride, padding) -> bool:
  if not _winograd_applies(kernel, stride):
    return False
  sizes = [size + sum(pads) - 2 for size, pads in zip(x.shape[1:3], padding)]
  tiles = x.shape[0] * math.prod(-(-size // 2) for size in sizes)
  filled = x.shape[0] * math.prod(sizes) >= WINOGRAD_FILLED * 4 * tiles
  return tiles >= WINOGRAD_TILES and filled


def _applies(x, kernel, stride, padding, groups) -> bool:
  """Whether the kernels do this: one group, stride 1 or 2, padding below the kernel size.

  An image smaller than the kernel gives no output, which XLA knows.
  """
  inside = all(
    max(pads) < k <= size + sum(pads) for pads, k, size in zip(padding, kernel.shape, x.shape[1:3])
  )
  return groups == 1 and stride <= 2 and inside and min(map(min, padding)) >= 0 and 0 not in x.shape


def _winograd_applies(kernel, stride) -> bool:
  lanes = [channels % WINOGRAD_LANES == 0 for channels in kernel.shape[2:]]
  return kernel.shape[:2] == (3, 3) and stride == 1 and all(lanes)


def _is_product(kernel, padding) -> bool:
  return kernel.shape[:2] == (1, 1) and not any(map(any, padding))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _conv(x, kernel, stride, padding, winograd):
  bias = jnp.zeros(kernel.shape[-1], x.dtype)
  return _forward(x, kernel, bias, stride, padding, '', winograd)


def _forward(x, kernel, bias, stride, padding, activation, winograd):
  shape = kernels.output_shape(x.shape, kernel.shape, stride, padding, kernel.shape[-1])
  return kernels.call(
    'convolution_winograd' if winograd else 'convolution_forward', shape, x, kernel, bias,
    **_corner(stride, padding, winograd), activation=FUSED[activation],
  )


def _conv_forward(x, kernel, stride, padding, winograd):
  return _conv(x, kernel, stride, padding, winograd), (x, kernel)


def _conv_backward(stride, padding, winograd, residuals, gradient):
  x, kernel = residuals
  return (
    _input_gradient(gradient, kernel, x.shape, stride, padding, winograd),
    _kernel_gradient(x, gradient, kernel.shape, stride, padding, winograd),
  )


_conv.defvjp(_conv_forward, _conv_backward)


def _kernel_gradient(x, gradient, shape, stride, padding, winograd=False):
  return kernels.call(
    'convolution_winograd_gradient' if winograd else 'convolution_kernel_gradient', shape, x,
    gradient, **_corner(stride, padding, winograd),
  )


def _corner(stride, padding, winograd):
  corner = {'top': padding[0][0], 'left': padding[1][0]}
  return corner if winograd else {'stride': stride, **corner}


def _input_gradient(gradient, kernel, shape, stride, padding, winograd):
  """The input's gradient: the output's gradient convolved with the flipped kernel, phase by phase.

  Input row r receives output row q through tap i where q * stride + i = r + padding. All rows with
  the same phase, (r + padding) % stride, use the same taps: phase, phase + stride, and so on.
  """
  turned = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
  if stride == 1:
    pads = tuple(_margins(size, pad[0], k, out) for size, pad, k, out in zip(
      shape[1:3], padding, kernel.shape, gradient.shape[1:3]))
    return _correlate(gradient, turned, pads, winograd)
  phases = []
  for a in range(stride):
    for b in range(stride):
      taps = kernel[a::stride, b::stride]
      rows, columns = (
        _phase(size, pad[0], phase, stride)
        for size, pad, phase in zip(shape[1:3], padding, (a, b))
      )
      if 0 in (*taps.shape, rows[1], columns[1]):
        phases.append((rows, columns, None))
        continue
      pads = tuple(
        _margins(count, first, k, out) for (_, count, first), k, out in
        zip((rows, columns), taps.shape, gradient.shape[1:3])
      )
      phases.append((
        rows, columns, _correlate(gradient, taps[::-1, ::-1].transpose(0, 1, 3, 2), pads)
      ))
  full = jnp.zeros(shape, gradient.dtype)
  for (row, _, _), (column, _, _), value in phases:
    if value is not None:
      full = full.at[:, row::stride, column::stride].set(value)
  return full


def _phase(size: int, before: int, phase: int, stride: int) -> tuple[int, int, int]:
  """The first input row of a phase, the number of rows, and the output row of its first tap."""
  row = (phase - before) % stride
  return row, -(-(size - row) // stride), (row + before - phase) // stride


def _margins(size: int, first: int, taps: int, out: int) -> tuple[int, int]:
  """Padding around `out` rows for `size` windows of `taps` rows, the first ending at `first`."""
  before = taps - 1 - first
  return before, size - out - before + taps - 1


def _correlate(gradient, kernel, pads, winograd=False):
  """Convolution with stride 1; negative padding crops."""
  cut = [(max(0, -a), max(0, -b)) for a, b in pads]
  if any(map(any, cut)):
    rows, columns = gradient.shape[1:3]
    (top, bottom), (left, right) = cut
    gradient = gradient[:, top : rows - bottom, left : columns - right]
  pads = tuple((max(0, a), max(0, b)) for a, b in pads)
  bias = jnp.zeros(kernel.shape[-1], gradient.dtype)
  return _forward(gradient, kernel, bias, 1, pads, '', winograd)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _product(x, kernel, stride):
  """1x1 convolution as XLA's matrix product; the kernel's gradient is a C++ kernel's."""
  return _matrix_product(x, kernel, stride)


def _matrix_product(x, kernel, stride):
  x = x[:, ::stride, ::stride] if stride > 1 else x
  flat = x.reshape(-1, x.shape[-1]) @ kernel[0, 0]
  return flat.reshape(*x.shape[:-1], kernel.shape[-1])


def _product_forward(x, kernel, stride):
  return _product(x, kernel, stride), (x, kernel)


def _product_backward(stride, residuals, gradient):
  x, kernel = residuals
  if x.shape[1] * x.shape[2] == 1:  # one pixel per image: XLA will do
    return jax.vjp(lambda *arrays: _matrix_product(*arrays, stride), x, kernel)[1](gradient)
  dx = jax.vjp(lambda x: _matrix_product(x, kernel, stride), x)[1](gradient)[0]
  return dx, _kernel_gradient(x, gradient, kernel.shape, stride, NO_PADDING)


_product.defvjp(_product_forward, _product_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5, 6))
def _biased(x, kernel, bias, stride, padding, activation, winograd):
  return _forward(x, kernel, bias, stride, padding, activation, winograd)


def _biased_forward(x, kernel, bias, *rule):
  return _biased(x, kernel, bias, *rule), (x, kernel, bias)


def _biased_backward(stride, padding, activation, winograd, residuals, gradient):
  plain = lambda x, kernel, bias: add_bias(
    _conv(x, kernel, stride, padding, winograd), bias, activation
  )
  return jax.vjp(plain, *residuals)[1](gradient)


_biased.defvjp(_biased_forward, _biased_backward)
