"""What a layer is: convolutions with an explicit padding rule, BatchNorm, drop-path, initialisers.

Everywhere `x` is `[B, H, W, C]`. Parameters and statistics are float32; `dtype` is what a layer
computes in.
"""

import dataclasses
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ecanet_jax.errors import UserError
from ecanet_jax.ops.depthwise import depthwise_conv

ACTIVATION: dict[str, Callable[[jax.Array], jax.Array]] = {
  'swish': nn.swish,
  'relu': nn.relu,
  'relu6': nn.relu6,
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
  rule: str, size: tuple[int, int], kernel: int, stride: int
) -> tuple[tuple[int, int], tuple[int, int]]:
  """Zeros before and after H and W of a `size` image for a `kernel` x `kernel` convolution.

  'same' is TensorFlow's rule, computed from the real size at every call: the output has
  ceil(size / stride) pixels and the odd zero goes after.
  """
  if rule == 'symmetric':
    return ((kernel - 1) // 2,) * 2, ((kernel - 1) // 2,) * 2
  total = [max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in size]
  return tuple((t // 2, t - t // 2) for t in total)


def _drawn_on_host(draw: Callable[[np.random.Generator, tuple], np.ndarray]):
  """An initialiser `(key, shape, dtype)` that draws with NumPy from the key.

  Parameters are the same on every backend, and a network is initialised without compiling a
  random generator for each of its parameters, which takes minutes on a CPU.
  """

  def initialise(key, shape, dtype=jnp.float32):
    def host(words):
      generator = np.random.Generator(np.random.Philox(np.asarray(words).tolist()))
      return draw(generator, shape).astype(dtype)

    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
      key = jax.random.key_data(key)
    return jax.pure_callback(host, jax.ShapeDtypeStruct(shape, dtype), key)

  return initialise


@_drawn_on_host
def fan_out_normal(generator, shape):
  """TF EfficientNet's convolution initialiser: normal, variance 2 / (kh * kw * out).

  `[kh, kw, in, out]`, a 1x1's `[in, out]`, or a depthwise `[kh, kw, C]`, which counts as one
  output channel (tensorflow/tpu, efficientnet_model.py, conv_kernel_initializer).
  """
  fan_out = {2: shape[-1], 3: shape[0] * shape[1]}.get(len(shape), math.prod(shape) / shape[-2])
  return generator.standard_normal(shape) * (2.0 / fan_out) ** 0.5


@_drawn_on_host
def dense_uniform(generator, shape):
  """TF EfficientNet's classifier initialiser: uniform in +-1 / sqrt(out), out at least 1000.

  The published rule is for 1000 classes. At 10 it would start with logits of several units and a
  loss of 7 instead of 2.3, from which training recovers slowly.
  """
  return generator.uniform(-1, 1, shape) * max(shape[-1], 1000) ** -0.5


@_drawn_on_host
def fan_in_normal(generator, shape):
  """Normal with variance 1 / k for a 1-D kernel `[k]`."""
  return generator.standard_normal(shape) * shape[0] ** -0.5


class Conv(nn.Module):
  """k x k convolution of all channels, without bias; `kernel` is `[k, k, in, out]`."""

  features: int
  kernel_size: int
  stride: int
  padding: str
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x):
    k = self.kernel_size
    kernel = self.param('kernel', fan_out_normal, (k, k, x.shape[-1], self.features))
    return lax.conv_general_dilated(
      x.astype(self.dtype), kernel.astype(self.dtype), (self.stride, self.stride),
      explicit_padding(self.padding, x.shape[1:3], k, self.stride),
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )


class PointwiseConv(nn.Module):
  """1x1 convolution as one product of `[B*H*W, in]` and `kernel` `[in, out]`."""

  features: int
  use_bias: bool = False
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x):
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
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x, train: bool):
    channels = x.shape[-1]
    scale = self.param('scale', nn.initializers.ones, (channels,))
    bias = self.param('bias', nn.initializers.zeros, (channels,))
    mean = self.variable('batch_stats', 'mean', jnp.zeros, (channels,), jnp.float32)
    var = self.variable('batch_stats', 'var', jnp.ones, (channels,), jnp.float32)
    if not train:
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


def drop_path(x: jax.Array, rate: float, key: jax.Array) -> jax.Array:
  """Stochastic depth: drops a residual branch per image and scales what stays by 1 / (1 - rate).

  Source: Huang et al. 2016; TF EfficientNet's drop_connect. `x` is `[B, H, W, C]`, rate in [0, 1).
  """
  keep = jax.random.bernoulli(key, 1.0 - rate, (x.shape[0], 1, 1, 1))
  return jnp.where(keep, x / (1.0 - rate), jnp.zeros_like(x))
