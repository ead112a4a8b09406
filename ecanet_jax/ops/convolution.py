"""Convolution of all channels with bias and activation, beside the plain reference.

A 1x1 convolution is one product of `[B*H*W, in]`. On a CPU `native` runs every size as products by
kernels of our own, see ops/native: bias and activation are applied to sums that are still in
registers, and both gradients are such products, too. `winograd` does 3x3 and stride 1 with 4/9 of
the multiplications (Lavin and Gray 2016, F(2x2, 3x3)), forward and for both gradients; its rounding
is another one and about as large. Without them `window` has the kernel gradient of a stem as one
product, which XLA would compute as a convolution of the transposed images. docs/performance.md has
the figures.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

from ecanet_jax.ops import cpu
from ecanet_jax.ops.batch_norm import ACTIVATIONS, add_bias

Padding = tuple[tuple[int, int], tuple[int, int]]
NO_PADDING = ((0, 0), (0, 0))

MAX_WINDOW = 32  # values in a window, kh * kw * in, up to which `window`'s rows are small enough
WINOGRAD_LANES = 16  # values in a vector: channels are a multiple
WINOGRAD_TILES = 96  # of 2x2 pixels, from which on it pays to transform the kernel for them
WINOGRAD_FILLED = 0.7  # part of the tiles' pixels that is in the images, so that it pays


def conv(
  x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, groups: int = 1,
  bias: jax.Array | None = None, activation: str = '', implementation: str = 'auto',
) -> jax.Array:
  """Convolves (cross-correlation, as in every framework).

  Args:
    x: `[B, H, W, in]`.
    kernel: `[kh, kw, in / groups, out]`, of x's dtype.
    stride: in pixels, for both axes.
    padding: zeros before and after H, and before and after W.
    groups: of channels.
    bias: `[out]`, float32, or None.
    activation: a name of `batch_norm.ACTIVATIONS`, only with a bias.
    implementation: a name of IMPLEMENTATIONS, or 'auto' for the backend's own. A convolution of a
      kind that it does not have (groups; for 'native' strides above 2; for 'product' all but 1x1)
      is XLA's; for 'winograd', which has 3x3 and stride 1, 'native's.

  Returns:
    `[B, H', W', out]` with `H' = (H + sum(padding[0]) - kh) // stride + 1`.

  Raises:
    ValueError: the implementation is not known, or does not apply here.
  """
  if implementation not in ('auto', *IMPLEMENTATIONS):
    known = ', '.join(['auto', *IMPLEMENTATIONS])
    raise ValueError(f'unknown convolution implementation {implementation!r}. Known: {known}.')
  fits = cpu.usable(x, kernel)
  if implementation in ('native', 'product', 'winograd') and not fits:
    raise ValueError(
      f'convolution implementation {implementation!r} is for one CPU device and float32 or float64 '
      f'and needs a C++ compiler; here {jax.device_count()} {jax.default_backend()} devices, '
      f"{x.dtype.name}. Take 'auto'."
    )
  if implementation == 'auto':
    implementation = _choose(x, kernel, stride, padding, activation, fits)
  ours = implementation in ('native', 'winograd')
  if ours and _native_applies(x, kernel, stride, padding, groups):
    winograd = implementation == 'winograd' and _winograd_applies(kernel, stride)
    if bias is None:
      return native_conv(x, kernel, stride, padding, winograd)
    return _native_biased(x, kernel, bias.astype(x.dtype), stride, padding, activation, winograd)
  if implementation == 'window' and groups == 1:
    y = window_conv(x, kernel, stride, padding)
  elif implementation == 'product' and groups == 1 and _is_product(kernel, padding):
    y = product_conv(x, kernel, stride)
  else:
    y = plain_conv(x, kernel, stride, padding, groups)
  return y if bias is None else add_bias(y, bias, activation)


def _choose(x, kernel, stride, padding, activation: str, fits: bool) -> str:
  """Measured on a CPU (docs/performance.md); GPU and TPU: not measured, so XLA's own.

  XLA's product is as fast as ours forward, and for the input's gradient; not for the kernel's.
  """
  pointwise = _is_product(kernel, padding)
  if fits and x.shape[1] * x.shape[2] > 1:
    if pointwise and not activation:
      return 'product'
    sizes = [size + sum(pads) - 2 for size, pads in zip(x.shape[1:3], padding)]
    tiles = x.shape[0] * math.prod(-(-size // 2) for size in sizes)
    filled = x.shape[0] * math.prod(sizes) >= WINOGRAD_FILLED * 4 * tiles
    pays = _winograd_applies(kernel, stride) and tiles >= WINOGRAD_TILES and filled
    return 'winograd' if pays else 'native'
  small = math.prod(kernel.shape[:3]) <= MAX_WINDOW and not pointwise
  return 'window' if small and jax.default_backend() == 'cpu' else 'plain'


def _native_applies(x, kernel, stride, padding, groups) -> bool:
  """Not for groups, and neither for strides nor paddings that no network has."""
  inside = all(max(pads) < k for pads, k in zip(padding, kernel.shape))
  return groups == 1 and stride <= 2 and inside and min(map(min, padding)) >= 0 and 0 not in x.shape


def _winograd_applies(kernel, stride) -> bool:
  lanes = [channels % WINOGRAD_LANES == 0 for channels in kernel.shape[2:]]
  return kernel.shape[:2] == (3, 3) and stride == 1 and all(lanes)


def _is_product(kernel, padding) -> bool:
  return kernel.shape[:2] == (1, 1) and not any(map(any, padding))


def plain_conv(x, kernel, stride, padding, groups=1):
  """The plain reference: XLA's product or convolution."""
  if groups == 1 and _is_product(kernel, padding):
    x = x[:, ::stride, ::stride] if stride > 1 else x
    flat = x.reshape(-1, x.shape[-1]) @ kernel[0, 0]
    return flat.reshape(*x.shape[:-1], kernel.shape[-1])
  return lax.conv_general_dilated(
    x, kernel, (stride, stride), padding, dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    feature_group_count=groups,
  )


# ------------------------------------------------------------------------------------------ native


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def native_conv(
  x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, winograd: bool = False
) -> jax.Array:
  """The same by kernels of our own for the CPU; without groups, strides 1 and 2."""
  bias = jnp.zeros(kernel.shape[-1], x.dtype)
  return _forward(x, kernel, bias, stride, padding, '', winograd)


def _forward(x, kernel, bias, stride, padding, activation, winograd):
  sizes = (
    (x.shape[axis + 1] + sum(padding[axis]) - kernel.shape[axis]) // stride + 1 for axis in (0, 1)
  )
  return cpu.call(
    'convolution_winograd' if winograd else 'convolution_forward',
    (x.shape[0], *sizes, kernel.shape[-1]), x, kernel, bias,
    **_corner(stride, padding, winograd), activation=ACTIVATIONS[activation],
  )


def _native_forward(x, kernel, stride, padding, winograd):
  return native_conv(x, kernel, stride, padding, winograd), (x, kernel)


def _native_backward(stride, padding, winograd, residuals, gradient):
  x, kernel = residuals
  return (
    _input_gradient(gradient, kernel, x.shape, stride, padding, winograd),
    _kernel_gradient(x, gradient, kernel.shape, stride, padding, winograd),
  )


native_conv.defvjp(_native_forward, _native_backward)


def _kernel_gradient(x, gradient, shape, stride, padding, winograd=False):
  return cpu.call(
    'convolution_winograd_gradient' if winograd else 'convolution_kernel_gradient', shape, x,
    gradient, **_corner(stride, padding, winograd),
  )


def _corner(stride, padding, winograd):
  corner = {'top': padding[0][0], 'left': padding[1][0]}
  return corner if winograd else {'stride': stride, **corner}


def _input_gradient(gradient, kernel, shape, stride, padding, winograd):
  """A convolution of the gradient with the kernel backwards, one for every phase of the input.

  Row r of the input gets gradient row q through tap i where q * stride + i = r + padding. All rows
  of one phase (r + padding) % stride use the same taps, i = phase, phase + stride, and so on.
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
  """The first input row of a phase, how many there are, and the gradient row of its first tap."""
  row = (phase - before) % stride
  return row, -(-(size - row) // stride), (row + before - phase) // stride


def _margins(size: int, first: int, taps: int, out: int) -> tuple[int, int]:
  """Rows before and after the gradient's `out`, for `size` windows of which one ends at `first`."""
  before = taps - 1 - first
  return before, size - out - before + taps - 1


def _correlate(gradient, kernel, pads, winograd=False):
  """With negative paddings, which cut."""
  cut = [(max(0, -a), max(0, -b)) for a, b in pads]
  if any(map(any, cut)):
    rows, columns = gradient.shape[1:3]
    (top, bottom), (left, right) = cut
    gradient = gradient[:, top : rows - bottom, left : columns - right]
  pads = tuple((max(0, a), max(0, b)) for a, b in pads)
  bias = jnp.zeros(kernel.shape[-1], gradient.dtype)
  return _forward(gradient, kernel, bias, 1, pads, '', winograd)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def product_conv(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
  """A 1x1 convolution as XLA's product, with the kernel's gradient by ours."""
  return plain_conv(x, kernel, stride, NO_PADDING)


def _product_forward(x, kernel, stride):
  return product_conv(x, kernel, stride), (x, kernel)


def _product_backward(stride, residuals, gradient):
  x, kernel = residuals
  dx = jax.vjp(lambda x: plain_conv(x, kernel, stride, NO_PADDING), x)[1](gradient)[0]
  return dx, _kernel_gradient(x, gradient, kernel.shape, stride, NO_PADDING)


product_conv.defvjp(_product_forward, _product_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5, 6))
def _native_biased(x, kernel, bias, stride, padding, activation, winograd):
  return _forward(x, kernel, bias, stride, padding, activation, winograd)


def _biased_forward(x, kernel, bias, *rule):
  return _native_biased(x, kernel, bias, *rule), (x, kernel, bias)


def _biased_backward(stride, padding, activation, winograd, residuals, gradient):
  plain = lambda x, kernel, bias: add_bias(
    native_conv(x, kernel, stride, padding, winograd), bias, activation
  )
  return jax.vjp(plain, *residuals)[1](gradient)


_native_biased.defvjp(_biased_forward, _biased_backward)


# ------------------------------------------------------------------------------------------ window


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def window_conv(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
  """XLA's convolution, with every pixel's window as a row for the kernel's gradient."""
  return plain_conv(x, kernel, stride, padding)


def _window_forward(x, kernel, stride, padding):
  return plain_conv(x, kernel, stride, padding), (x, kernel)


def _window_backward(stride, padding, residuals, gradient):
  x, kernel = residuals
  kh, kw, channels, features = kernel.shape
  rows, columns = gradient.shape[1:3]
  padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
  windows = jnp.concatenate([
    padded[:, i : i + (rows - 1) * stride + 1 : stride, j : j + (columns - 1) * stride + 1 : stride]
    for i in range(kh) for j in range(kw)
  ], axis=-1)
  dkernel = lax.dot_general(
    windows.reshape(-1, kh * kw * channels), gradient.reshape(-1, features),
    (((0,), (0,)), ((), ())),
  )
  # Nobody asks for the gradient of images; then this is not in the compiled program.
  dx = jax.vjp(lambda x: plain_conv(x, kernel, stride, padding), x)[1](gradient)[0]
  return dx, dkernel.reshape(kernel.shape)


window_conv.defvjp(_window_forward, _window_backward)

IMPLEMENTATIONS = ('native', 'winograd', 'product', 'window', 'plain')
