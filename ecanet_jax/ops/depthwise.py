"""Depthwise 2-D convolution with a hand-written gradient, beside the stock convolution.

XLA runs a grouped convolution channel by channel on a CPU. `shift` writes the same sum as k * k
multiply-adds of shifted slices, which vectorise over channels; its input gradient is the same form
again (stride 2 by phases, without stuffing zeros), and its kernel gradient accumulates whole rows.
docs/performance.md has the figures.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

Padding = tuple[tuple[int, int], tuple[int, int]]

def depthwise_conv(
  x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, implementation: str = 'auto'
) -> jax.Array:
  """Convolves every channel with its own kernel (cross-correlation, as in every framework).

  Args:
    x: `[B, H, W, C]`.
    kernel: `[kh, kw, C]`, of x's dtype.
    stride: in pixels, for both axes.
    padding: zeros before and after H, and before and after W.
    implementation: a name of IMPLEMENTATIONS, or 'auto' for the backend's own.

  Returns:
    `[B, H', W', C]` with `H' = (H + sum(padding[0]) - kh) // stride + 1`.

  Raises:
    ValueError: the implementation is not known.
  """
  if implementation == 'auto':
    implementation = BACKEND.get(jax.default_backend(), 'lax')
  if implementation not in IMPLEMENTATIONS:
    known = ', '.join(['auto', *IMPLEMENTATIONS])
    raise ValueError(f'unknown depthwise implementation {implementation!r}. Known: {known}.')
  return IMPLEMENTATIONS[implementation](x, kernel, stride, padding)


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
      term = padded[:, rows, columns] * kernel[i, j]
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
  _, out_h, out_w, channels = gradient.shape
  # Per phase: ceil(padded size / stride) rows, of which the unpadded ones are cut out at the end.
  rows = -(-(shape[1] + sum(padding[0])) // stride)
  columns = -(-(shape[2] + sum(padding[1])) // stride)
  reach_h, reach_w = (kh - 1) // stride, (kw - 1) // stride
  margin = (
    (0, 0),
    (reach_h, max(0, rows - out_h)),
    (reach_w, max(0, columns - out_w)),
    (0, 0),
  )
  margined = jnp.pad(gradient, margin)
  phases = []
  for a in range(stride):
    for b in range(stride):
      total = jnp.zeros((shape[0], rows, columns, channels), gradient.dtype)
      for i in range(a, kh, stride):
        for j in range(b, kw, stride):
          top, left = reach_h - i // stride, reach_w - j // stride
          total += margined[:, top : top + rows, left : left + columns] * kernel[i, j]
      phases.append(total)
  if stride == 1:
    full = phases[0]
  else:
    stacked = jnp.stack(phases).reshape(stride, stride, shape[0], rows, columns, channels)
    full = stacked.transpose(2, 3, 0, 4, 1, 5).reshape(
      shape[0], rows * stride, columns * stride, channels
    )
  top, left = padding[0][0], padding[1][0]
  return full[:, top : top + shape[1], left : left + shape[2]]


def _kernel_gradient(x, gradient, kernel_shape, stride, padding):
  """Accumulates `[kh, kw, W', C]` over the output's rows, then sums over W' once.

  Each step of the scan is one fused, vectorised pass over kh input rows and one gradient row of
  one image, all of it in cache; XLA's own reduction would run channel by channel. The sum is in
  float32.
  """
  kh, kw = kernel_shape[:2]
  batch, out_h, out_w, channels = gradient.shape
  padded = _pad(x, padding)

  def add_row(total, index):
    image, row = index // out_h, index % out_h
    strip = lax.dynamic_slice(
      padded, (image, row * stride, 0, 0), (1, kh, padded.shape[2], channels)
    )[0].astype(jnp.float32)
    line = lax.dynamic_slice(gradient, (image, row, 0, 0), (1, 1, out_w, channels))[0, 0]
    line = line.astype(jnp.float32)
    taps = tuple(
      accumulated + strip[t // kw, t % kw : t % kw + (out_w - 1) * stride + 1 : stride] * line
      for t, accumulated in enumerate(total)
    )
    return taps, None

  start = tuple(jnp.zeros((out_w, channels), jnp.float32) for _ in range(kh * kw))
  taps, _ = lax.scan(add_row, start, jnp.arange(batch * out_h))
  return jnp.stack([tap.sum(0) for tap in taps]).reshape(kh, kw, channels)


IMPLEMENTATIONS = {'shift': shift_depthwise, 'lax': lax_depthwise}

# Measured on a CPU (docs/performance.md); GPU and TPU: not measured, so the stock convolution.
BACKEND = {'cpu': 'shift'}
