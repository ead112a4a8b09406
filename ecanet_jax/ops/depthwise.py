"""Depthwise 2-D convolution with a hand-written gradient, beside the stock convolution.

XLA runs a grouped convolution channel by channel on a CPU. `native` calls kernels of our own, see
ops/native. `shift` needs no compiler: it writes the same sum as k * k multiply-adds of shifted
slices, which vectorise over channels; its input gradient is the same form again (stride 2 by
phases, without stuffing zeros), and its kernel gradient accumulates whole rows.
docs/performance.md has the figures.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from ecanet_jax.ops import cpu
from ecanet_jax.ops.batch_norm import ACTIVATIONS, add_bias

Padding = tuple[tuple[int, int], tuple[int, int]]


def depthwise_conv(
  x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, implementation: str = 'auto',
  bias: jax.Array | None = None, activation: str = '',
) -> jax.Array:
  """Convolves every channel with its own kernel (cross-correlation, as in every framework).

  Args:
    x: `[B, H, W, C]`.
    kernel: `[kh, kw, C]`, of x's dtype.
    stride: in pixels, for both axes.
    padding: zeros before and after H, and before and after W.
    implementation: a name of IMPLEMENTATIONS, or 'auto' for the backend's own.
    bias: `[C]`, float32, or None.
    activation: a name of `batch_norm.ACTIVATIONS`, only with a bias.

  Returns:
    `[B, H', W', C]` with `H' = (H + sum(padding[0]) - kh) // stride + 1`.

  Raises:
    ValueError: the implementation is not known, or does not apply here.
  """
  if implementation not in ('auto', *IMPLEMENTATIONS):
    known = ', '.join(['auto', *IMPLEMENTATIONS])
    raise ValueError(f'unknown depthwise implementation {implementation!r}. Known: {known}.')
  fits = stride <= 2 and cpu.usable(x, kernel)
  if implementation == 'auto':
    implementation = BACKEND.get(jax.default_backend(), 'lax')
    if implementation == 'native' and not fits:
      implementation = 'shift'
  if implementation == 'native' and not fits:
    raise ValueError(
      "depthwise implementation 'native' is for one CPU device, float32 or float64 and strides 1 "
      f'and 2, and needs a C++ compiler; here {jax.device_count()} {jax.default_backend()} '
      f"devices, {x.dtype.name}, stride {stride}. Take 'auto'."
    )
  if implementation == 'native' and bias is not None:
    return _native_biased(x, kernel, bias.astype(x.dtype), stride, padding, activation)
  y = IMPLEMENTATIONS[implementation](x, kernel, stride, padding)
  return y if bias is None else add_bias(y, bias, activation)


def lax_depthwise(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
  """The plain reference: XLA's grouped convolution."""
  return lax.conv_general_dilated(
    x, kernel[:, :, None, :], (stride, stride), padding,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'), feature_group_count=x.shape[-1],
  )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def shift_depthwise(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
  """The same sum as k * k multiply-adds of shifted slices."""
  kh, kw = kernel.shape[:2]
  height, width = _output_size(x.shape, kernel.shape, stride, padding)
  padded = _pad(x, padding)
  total = None
  for i in range(kh):
    for j in range(kw):
      rows = slice(i, i + (height - 1) * stride + 1, stride)
      columns = slice(j, j + (width - 1) * stride + 1, stride)
      term = padded[:, rows, columns] * kernel[i, j][None, None, None]
      total = term if total is None else total + term
  return total


def _shift_forward(x, kernel, stride, padding):
  return shift_depthwise(x, kernel, stride, padding), (x, kernel)


def _shift_backward(stride, padding, residuals, gradient):
  x, kernel = residuals
  return (
    _input_gradient(gradient, kernel, x.shape, stride, padding),
    _kernel_gradient(x, gradient, kernel.shape, stride, padding).astype(kernel.dtype),
  )


shift_depthwise.defvjp(_shift_forward, _shift_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def native_depthwise(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
  """The same by kernels of our own for the CPU."""
  return _call_forward(x, kernel, jnp.zeros(x.shape[-1], x.dtype), stride, padding, '')


def _call_forward(x, kernel, bias, stride, padding, activation):
  shape = (x.shape[0], *_output_size(x.shape, kernel.shape, stride, padding), x.shape[-1])
  return cpu.call(
    'depthwise_forward', shape, x, kernel, bias, **_corner(stride, padding),
    activation=ACTIVATIONS[activation],
  )


def _native_forward(x, kernel, stride, padding):
  return native_depthwise(x, kernel, stride, padding), (x, kernel)


def _native_backward(stride, padding, residuals, gradient):
  x, kernel = residuals
  return tuple(cpu.call(
    'depthwise_backward', [x.shape, kernel.shape], x, kernel, gradient, **_corner(stride, padding)
  ))


native_depthwise.defvjp(_native_forward, _native_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _native_biased(x, kernel, bias, stride, padding, activation):
  return _call_forward(x, kernel, bias, stride, padding, activation)


def _biased_forward(x, kernel, bias, stride, padding, activation):
  return _native_biased(x, kernel, bias, stride, padding, activation), (x, kernel, bias)


def _biased_backward(stride, padding, activation, residuals, gradient):
  plain = lambda x, kernel, bias: add_bias(
    native_depthwise(x, kernel, stride, padding), bias, activation
  )
  return jax.vjp(plain, *residuals)[1](gradient)


_native_biased.defvjp(_biased_forward, _biased_backward)


def _corner(stride, padding):
  return {'stride': stride, 'top': padding[0][0], 'left': padding[1][0]}


def _output_size(shape, kernel_shape, stride, padding):
  return tuple(
    (shape[axis + 1] + sum(padding[axis]) - kernel_shape[axis]) // stride + 1 for axis in (0, 1)
  )


def _pad(x, padding):
  return jnp.pad(x, ((0, 0), *padding, (0, 0)))


def _input_gradient(gradient, kernel, shape, stride, padding):
  """Sums, for every phase of the input, the taps that reach it.

  Row r of the padded input gets gradient row q through tap i whenever q * stride + i = r. All rows
  of one phase r % stride therefore use the same taps, each a shifted slice of the gradient.
  """
  kh, kw = kernel.shape[:2]
  batch, _, _, channels = shape
  top, rows, margin_h = _reach(shape[1], padding[0][0], kh, stride, gradient.shape[1])
  left, columns, margin_w = _reach(shape[2], padding[1][0], kw, stride, gradient.shape[2])
  margined = jnp.pad(gradient, ((0, 0), margin_h, margin_w, (0, 0)))
  phases = []
  for a in range(stride):
    for b in range(stride):
      total = jnp.zeros((batch, rows, columns, channels), gradient.dtype)
      for i in range(a, kh, stride):
        for j in range(b, kw, stride):
          y, x = top + margin_h[0] - i // stride, left + margin_w[0] - j // stride
          total += margined[:, y : y + rows, x : x + columns] * kernel[i, j][None, None, None]
      phases.append(total)
  if stride == 1:
    return phases[0]
  stacked = jnp.stack(phases).reshape(stride, stride, batch, rows, columns, channels)
  full = stacked.transpose(2, 3, 0, 4, 1, 5).reshape(
    batch, rows * stride, columns * stride, channels
  )
  y, x = padding[0][0] % stride, padding[1][0] % stride
  return full[:, y : y + shape[1], x : x + shape[2]]


def _reach(size, before, kernel, stride, out) -> tuple[int, int, tuple[int, int]]:
  """For one axis: a phase's first row, its rows, and the zeros around the gradient it needs.

  A phase has the rows r = phase + stride * m of the padded input; those that hold `size` pixels
  after `before` zeros begin at m = before // stride.
  """
  first = before // stride
  rows = (before + size - 1) // stride - first + 1
  return first, rows, (max(0, (kernel - 1) // stride - first), max(0, first + rows - out))


def _kernel_gradient(x, gradient, kernel_shape, stride, padding):
  """Accumulates `[kh, W', C]` for each of the kw columns over the output's rows, then sums W'.

  Each step of the scan takes kh input rows and one gradient row of one image, all of it in cache,
  through kw fused, vectorised passes; XLA's own reduction would run channel by channel. The sum is
  in float32, or float64 for float64 inputs.
  """
  kh, kw = kernel_shape[:2]
  batch, out_h, out_w, channels = gradient.shape
  padded = _pad(x, padding)
  dtype = jnp.promote_types(gradient.dtype, jnp.float32)
  width = (out_w - 1) * stride + 1

  def add_row(total, index):
    image, row = index // out_h, index % out_h
    strip = lax.dynamic_slice(
      padded, (image, row * stride, 0, 0), (1, kh, padded.shape[2], channels)
    )[0].astype(dtype)
    line = lax.dynamic_slice(gradient, (image, row, 0, 0), (1, 1, out_w, channels))[0]
    line = line.astype(dtype)
    columns = tuple(
      column + strip[:, j : j + width : stride] * line for j, column in enumerate(total)
    )
    return columns, None

  start = tuple(jnp.zeros((kh, out_w, channels), dtype) for _ in range(kw))
  columns, _ = lax.scan(add_row, start, jnp.arange(batch * out_h))
  return jnp.stack([column.sum(1) for column in columns], axis=1)


IMPLEMENTATIONS = {'native': native_depthwise, 'shift': shift_depthwise, 'lax': lax_depthwise}

# Measured on a CPU (docs/performance.md); GPU and TPU: not measured, so the stock convolution.
BACKEND = {'cpu': 'native'}
