"""2-D convolutions (cross-correlations, as in every framework) with bias and activation."""

import jax
from jax import lax

from ecanet_jax.ops.activation import activate

Padding = tuple[tuple[int, int], tuple[int, int]]


def conv(
  x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, groups: int = 1,
  bias: jax.Array | None = None, activation: str = '',
) -> jax.Array:
  """Convolves all channels, or groups of them.

  Args:
    x: `[B, H, W, in]`.
    kernel: `[kh, kw, in / groups, out]`, in x's type.
    stride: in pixels, for both axes.
    padding: zeros before and after H, and before and after W.
    groups: of channels.
    bias: `[out]`, or None.
    activation: a name of `ACTIVATIONS`.

  Returns:
    `[B, H', W', out]` with `H' = (H + sum(padding[0]) - kh) // stride + 1`.
  """
  y = lax.conv_general_dilated(
    x, kernel, (stride, stride), padding, dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    feature_group_count=groups,
  )
  return add_bias(y, bias, activation)


def depthwise_conv(
  x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, bias: jax.Array | None = None,
  activation: str = '',
) -> jax.Array:
  """Convolves every channel with a kernel of its own, `[kh, kw, C]`; else as `conv`."""
  return conv(x, kernel[:, :, None], stride, padding, x.shape[-1], bias, activation)


def add_bias(y: jax.Array, bias: jax.Array | None, activation: str) -> jax.Array:
  """activation(y + bias) for `[B, H, W, C]` and `[C]`."""
  if bias is not None:
    y = y + bias.astype(y.dtype)[None, None, None]
  return activate(y, activation)
