"""What a layer is: convolutions with an explicit padding rule, BatchNorm, pooling, drop-path.

Everywhere `x` is `[B, H, W, C]`. Parameters and statistics are float32; `dtype` is what a layer
computes in. A network takes its layers from one `Layers`, which holds what they have in common.
"""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ecanet_jax.errors import UserError
from ecanet_jax.initializers import fan_out_normal
from ecanet_jax.ops.depthwise import depthwise_conv

ACTIVATION: dict[str, Callable[[jax.Array], jax.Array]] = {
  'swish': nn.swish,
  'relu': nn.relu,
  'relu6': nn.relu6,
  'hard_swish': nn.hard_swish,
}


@dataclasses.dataclass(frozen=True)
class Preset:
  """Padding and BatchNorm constants of a framework's family of weights; never mixed silently.

  Attributes:
    padding: 'symmetric' ((k - 1) // 2 on each side) or 'same' (TensorFlow's rule).
    bn_eps: added to the variance.
    bn_decay: of the running statistics, in flax's sense; PyTorch's momentum is 1 - bn_decay.
    unbiased_variance: running variance with n / (n - 1), as PyTorch keeps it.
  """

  padding: str
  bn_eps: float
  bn_decay: float
  unbiased_variance: bool


PRESET = {
  'torch': Preset('symmetric', bn_eps=1e-5, bn_decay=0.9, unbiased_variance=True),
  'tf': Preset('same', bn_eps=1e-3, bn_decay=0.99, unbiased_variance=False),
}


def explicit_padding(
  rule: str, size: tuple[int, int], kernel: int | tuple[int, int], stride: int
) -> tuple[tuple[int, int], tuple[int, int]]:
  """Zeros before and after H and W of a `size` image for a convolution or a pooling.

  Args:
    rule: 'symmetric' ((k - 1) // 2 on each side); 'same' (TensorFlow's, computed from the real size
      at every call: the output has ceil(size / stride) pixels and the odd zero goes after); 'valid'
      (none); 'ceil' (none before, after it what Caffe adds so that no pixel is left over).
    size: H and W in pixels.
    kernel: one size for both axes, or height and width.
    stride: in pixels, for both axes.
  """
  kernels = (kernel, kernel) if isinstance(kernel, int) else kernel
  if rule == 'symmetric':
    return tuple(((k - 1) // 2,) * 2 for k in kernels)
  if rule == 'valid':
    return (0, 0), (0, 0)
  if rule == 'ceil':
    return tuple((0, -(-(n - k) // stride) * stride + k - n) for n, k in zip(size, kernels))
  total = [max((-(-n // stride) - 1) * stride + k - n, 0) for n, k in zip(size, kernels)]
  return tuple((t // 2, t - t // 2) for t in total)


class Conv(nn.Module):
  """k x k convolution, of all channels or in groups; `kernel` is `[kh, kw, in / groups, out]`."""

  features: int
  kernel_size: int | tuple[int, int]
  stride: int
  padding: str
  groups: int = 1
  use_bias: bool = False
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x):
    k = self.kernel_size
    size = (k, k) if isinstance(k, int) else k
    kernel = self.param(
      'kernel', fan_out_normal, (*size, x.shape[-1] // self.groups, self.features)
    )
    y = lax.conv_general_dilated(
      x.astype(self.dtype), kernel.astype(self.dtype), (self.stride, self.stride),
      explicit_padding(self.padding, x.shape[1:3], k, self.stride),
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'), feature_group_count=self.groups,
    )
    if self.use_bias:
      bias = self.param('bias', nn.initializers.zeros, (self.features,))
      y += bias.astype(self.dtype)[None, None, None]
    return y


class PointwiseConv(nn.Module):
  """1x1 convolution as one product of `[B*H*W, in]` and `kernel` `[in, out]`."""

  features: int
  stride: int = 1
  use_bias: bool = False
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x):
    if self.stride > 1:
      x = x[:, :: self.stride, :: self.stride]
    kernel = self.param('kernel', fan_out_normal, (x.shape[-1], self.features))
    flat = x.reshape(-1, x.shape[-1]).astype(self.dtype)  # [..., in] -> [N, in]
    y = flat @ kernel.astype(self.dtype)
    if self.use_bias:
      bias = self.param('bias', nn.initializers.zeros, (self.features,))
      y += bias.astype(self.dtype)[None]
    return y.reshape(*x.shape[:-1], self.features)


class DepthwiseConv(nn.Module):
  """k x k convolution of every channel by itself, without bias; `kernel` is `[k, k, C]`."""

  kernel_size: int
  stride: int
  padding: str
  implementation: str = 'auto'
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x):
    k = self.kernel_size
    kernel = self.param('kernel', fan_out_normal, (k, k, x.shape[-1]))
    return depthwise_conv(
      x.astype(self.dtype), kernel.astype(self.dtype), self.stride,
      explicit_padding(self.padding, x.shape[1:3], k, self.stride), self.implementation,
    )


class BatchNorm(nn.Module):
  """Batch normalisation over B, H and W (Ioffe and Szegedy, 2015), statistics in float32.

  Under jit the batch is the global one: with `groups` = 1 the statistics are those of all devices
  together; with as many groups as devices, every device normalises its own images and nothing is
  communicated. Running statistics are the mean over the groups. One pass gives mean and variance:
  the running mean is subtracted first, which keeps E[d^2] - E[d]^2 exact when means are large.
  """

  preset: Preset
  groups: int = 1
  frozen: bool = False  # running statistics in training too
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x, train: bool):
    channels = x.shape[-1]
    scale = self.param('scale', nn.initializers.ones, (channels,))
    bias = self.param('bias', nn.initializers.zeros, (channels,))
    mean = self.variable('batch_stats', 'mean', jnp.zeros, (channels,), jnp.float32)
    var = self.variable('batch_stats', 'var', jnp.ones, (channels,), jnp.float32)
    if not train or self.frozen:
      inverse = scale * lax.rsqrt(var.value + self.preset.bn_eps)
      shift = bias - mean.value * inverse
      y = x.astype(jnp.float32) * inverse[None, None, None] + shift[None, None, None]
      return y.astype(self.dtype)
    if x.shape[0] % self.groups:
      raise UserError(
        f'batch of {x.shape[0]} does not divide by bn_groups={self.groups}; '
        'bn_groups must divide the global batch.'
      )
    grouped = x.reshape(self.groups, -1, *x.shape[1:])  # [B, H, W, C] -> [G, B/G, H, W, C]
    count = grouped.size // (self.groups * channels)
    origin = lax.stop_gradient(mean.value)
    centred = grouped.astype(jnp.float32) - origin[None, None, None, None]
    first = centred.mean((1, 2, 3))  # [G, C]
    second = jnp.square(centred).mean((1, 2, 3))
    batch_var = jnp.maximum(second - jnp.square(first), 0.0)
    batch_mean = first + origin[None]
    if not self.is_initializing():
      unbias = count / max(count - 1, 1) if self.preset.unbiased_variance else 1.0
      decay = self.preset.bn_decay
      mean.value = decay * mean.value + (1 - decay) * batch_mean.mean(0)
      var.value = decay * var.value + (1 - decay) * unbias * batch_var.mean(0)
    inverse = scale[None] * lax.rsqrt(batch_var + self.preset.bn_eps)  # [G, C]
    shift = bias[None] - batch_mean * inverse
    over = (slice(None), None, None, None)
    y = grouped.astype(jnp.float32) * inverse[over] + shift[over]
    return y.astype(self.dtype).reshape(x.shape)


class Activation(nn.Module):
  """A name of ACTIVATION, applied to every value; a module, so that a count can see it."""

  kind: str

  @nn.compact
  def __call__(self, x):
    return ACTIVATION[self.kind](x)


class Pool(nn.Module):
  """Largest value ('max') or mean ('mean', of the pixels that exist) of k x k windows."""

  kind: str
  kernel_size: int
  stride: int
  padding: str

  @nn.compact
  def __call__(self, x):
    k, stride = self.kernel_size, self.stride
    padding = ((0, 0), *explicit_padding(self.padding, x.shape[1:3], k, stride), (0, 0))
    window, strides = (1, k, k, 1), (1, stride, stride, 1)
    if self.kind == 'max':
      return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, padding)
    total = lax.reduce_window(x, 0.0, lax.add, window, strides, padding)
    ones = np.ones((1, *x.shape[1:3], 1), np.float32)
    pixels = lax.reduce_window(ones, 0.0, lax.add, window, strides, padding)
    return total / pixels.astype(x.dtype)


class GlobalPool(nn.Module):
  """Mean over H and W in float32: `[B, H, W, C]` -> `[B, C]`."""

  @nn.compact
  def __call__(self, x):
    return x.astype(jnp.float32).mean((1, 2))


class Product(nn.Module):
  """Sum of products of two activations, `jnp.einsum`; a module, so that a count can see it."""

  equation: str

  @nn.compact
  def __call__(self, a, b):
    return jnp.einsum(self.equation, a, b)


@dataclasses.dataclass(frozen=True)
class Layers:
  """Makes the layers of one network, with what they have in common said once.

  Its methods are called inside a module's `@nn.compact`; the layers belong to that module.

  Attributes:
    preset: padding rule and BatchNorm constants.
    activation: a name of ACTIVATION.
    bn_groups: see `BatchNorm`.
    frozen_bn: BatchNorm uses its running statistics in training too, and leaves them alone.
    depthwise: implementation of the depthwise convolution, see `ops.depthwise`.
    dtype: what the layers compute in.
  """

  preset: Preset
  activation: str = 'relu'
  bn_groups: int = 1
  frozen_bn: bool = False
  depthwise: str = 'auto'
  dtype: jnp.dtype = jnp.float32

  def conv(
    self, x, name: str, features: int, kernel: int | tuple[int, int] = 1, stride: int = 1,
    groups: int = 1, use_bias: bool = False, padding: str = '',
  ):
    """A convolution in the form that its sizes ask for: product, depthwise, or general."""
    channels = x.shape[-1]
    if kernel == 1 and groups == 1:
      return PointwiseConv(features, stride, use_bias, self.dtype, name=name)(x)
    padding = padding or self.preset.padding
    if groups == channels == features and not use_bias:
      return DepthwiseConv(kernel, stride, padding, self.depthwise, self.dtype, name=name)(x)
    return Conv(features, kernel, stride, padding, groups, use_bias, self.dtype, name=name)(x)

  def norm(self, x, name: str, train: bool):
    return BatchNorm(self.preset, self.bn_groups, self.frozen_bn, self.dtype, name=name)(x, train)

  def act(self, x):
    return Activation(self.activation)(x)

  def conv_bn(self, x, name: str, train: bool, features: int, kernel=1, stride=1, *, act=True,
              **options):
    """Convolution `name`, BatchNorm `name`_bn, and the activation unless `act` is False."""
    x = self.conv(x, name, features, kernel, stride, **options)
    x = self.norm(x, f'{name}_bn', train)
    return self.act(x) if act else x

  def depthwise_bn(self, x, name: str, train: bool, kernel: int, stride: int = 1):
    """Depthwise convolution, BatchNorm and activation."""
    return self.conv_bn(x, name, train, x.shape[-1], kernel, stride, groups=x.shape[-1])

  def pool(self, x, kind: str, kernel: int, stride: int, padding: str = ''):
    return Pool(kind, kernel, stride, padding or self.preset.padding)(x)


def drop_path(x: jax.Array, rate: float, key: jax.Array) -> jax.Array:
  """Stochastic depth: drops a residual branch per image and scales what stays by 1 / (1 - rate).

  Source: Huang et al. 2016; TF EfficientNet's drop_connect. `x` is `[B, H, W, C]`, rate in [0, 1).
  """
  keep = jax.random.bernoulli(key, 1.0 - rate, (x.shape[0], 1, 1, 1))
  return jnp.where(keep, x / (1.0 - rate), jnp.zeros_like(x))
