"""Layers: convolution with an explicit padding rule, BatchNorm, activation, drop-path.

`x` is `[B, H, W, C]`. Parameters and statistics are float32; layers compute in `dtype`. A network
makes its layers with one `Layers`, which holds their common settings.
"""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from ecanet_jax.nn.initializers import fan_out_normal
from ecanet_jax.nn.pooling import Pool, explicit_padding
from ecanet_jax.ops import get_backend
from ecanet_jax.ops.activation import ACTIVATIONS
from ecanet_jax.runtime.errors import UserError

CONV = 'conv'  # checkpoint name of the convolutions' outputs, for `jax.checkpoint` policies


@dataclasses.dataclass(frozen=True)
class Preset:
  """Padding and BatchNorm constants of a framework's family of weights.

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


class Conv(nn.Module):
  """k x k convolution: dense, grouped or depthwise.

  `kernel` is `[kh, kw, in / groups, out]`, `[in, out]` if 1x1, `[kh, kw, C]` if depthwise.
  """

  features: int
  kernel_size: int | tuple[int, int] = 1
  stride: int = 1
  padding: str = 'symmetric'
  groups: int = 1
  use_bias: bool = False
  backend: str = 'xla'
  dtype: jnp.dtype = jnp.float32
  kernel_init: Callable = fan_out_normal
  bias_init: Callable = nn.initializers.zeros

  @nn.compact
  def __call__(self, x, activation: str = ''):
    ops, channels, k = get_backend(self.backend), x.shape[-1], self.kernel_size
    size = (k, k) if isinstance(k, int) else k
    pointwise = size == (1, 1) and self.groups == 1
    depthwise = not pointwise and self.groups == channels == self.features
    if pointwise:
      shape = (channels, self.features)
    elif depthwise:
      shape = (*size, channels)
    else:
      shape = (*size, channels // self.groups, self.features)
    kernel = self.param('kernel', self.kernel_init, shape).astype(self.dtype)
    bias = self.param('bias', self.bias_init, (self.features,)) if self.use_bias else None
    padding = explicit_padding(self.padding, x.shape[1:3], size, self.stride)
    x = x.astype(self.dtype)
    if depthwise:
      return ops.depthwise_conv(x, kernel, self.stride, padding, bias, activation)
    kernel = kernel[None, None] if pointwise else kernel
    return ops.conv(x, kernel, self.stride, padding, self.groups, bias, activation)


class BatchNorm(nn.Module):
  """Batch normalisation over B, H and W (Ioffe and Szegedy, 2015), statistics in float32.

  With `groups` = 1, all devices together normalise the global batch. With as many groups as
  devices, each device normalises its own images and nothing is communicated. Running statistics are
  the mean over the groups.
  """

  preset: Preset
  groups: int = 1
  frozen: bool = False  # running statistics in training too
  backend: str = 'xla'
  dtype: jnp.dtype = jnp.float32
  zero_init: bool = False  # the scale starts at 0, not 1

  @nn.compact
  def __call__(self, x, train: bool, activation: str = '', attention: nn.Module | None = None):
    """Normalises `[B, H, W, C]`.

    Args:
      x: the images.
      train: normalises with the batch's own statistics.
      activation: a name of `ops.activation.ACTIVATIONS`, applied to the result.
      attention: applied after the activation. If it needs only the means of its input, it is
        computed together with the normalisation.
    """
    channels, ops = x.shape[-1], get_backend(self.backend)
    first = nn.initializers.zeros if self.zero_init else nn.initializers.ones
    scale = self.param('scale', first, (channels,))
    bias = self.param('bias', nn.initializers.zeros, (channels,))
    mean = self.variable('batch_stats', 'mean', jnp.zeros, (channels,), jnp.float32)
    var = self.variable('batch_stats', 'var', jnp.ones, (channels,), jnp.float32)
    if not train or self.frozen:
      factor = scale * lax.rsqrt(var.value + self.preset.bn_eps)
      shift = bias - mean.value * factor
      y = ops.scale_shift(x, factor, shift, activation).astype(self.dtype)
      return y if attention is None else attention(y, train)
    if x.shape[0] % self.groups:
      raise UserError(
        f'batch of {x.shape[0]} does not divide by bn_groups={self.groups}; '
        'bn_groups must divide the global batch.'
      )
    arguments = (
      x.astype(self.dtype), scale, bias, mean.value, self.preset.bn_eps, activation, self.groups
    )
    if attention is not None and attention.reads_mean:
      y, batch_mean, batch_var = ops.batch_norm_attend(*arguments, attention.weights)
    else:
      y, batch_mean, batch_var = ops.batch_norm(*arguments)
      y = y if attention is None else attention(y, train)
    if not self.is_initializing():
      count = x.size // (self.groups * channels)
      unbias = count / max(count - 1, 1) if self.preset.unbiased_variance else 1.0
      decay = self.preset.bn_decay
      mean.value = decay * mean.value + (1 - decay) * batch_mean.mean(0)
      var.value = decay * var.value + (1 - decay) * unbias * batch_var.mean(0)
    return y


class Activation(nn.Module):
  """An activation of `ACTIVATIONS`; a module so that `models.count` sees it."""

  kind: str

  @nn.compact
  def __call__(self, x):
    return ACTIVATIONS[self.kind](x)


class Product(nn.Module):
  """`jnp.einsum` of two arrays; a module so that `models.count` sees it."""

  equation: str

  @nn.compact
  def __call__(self, a, b):
    return jnp.einsum(self.equation, a, b)


@dataclasses.dataclass(frozen=True)
class Layers:
  """Makes the layers of one network with their common settings.

  Call its methods inside a module's `@nn.compact`; the layers belong to that module.

  Attributes:
    preset: padding rule and BatchNorm constants.
    activation: a name of `ACTIVATIONS`.
    bn_groups: see `BatchNorm`.
    frozen_bn: BatchNorm uses its running statistics in training too, and does not update them.
    backend: a name of `ops.BACKENDS`.
    dtype: type in which the layers compute.
    folded: convolutions contain the BatchNorm behind them, see `models.fold`; for inference only.
    depthwise_init: initialiser of depthwise kernels.
  """

  preset: Preset
  activation: str = 'relu'
  bn_groups: int = 1
  frozen_bn: bool = False
  backend: str = 'xla'
  dtype: jnp.dtype = jnp.float32
  folded: bool = False
  depthwise_init: Callable = fan_out_normal

  def conv(
    self, x, name: str, features: int, kernel: int | tuple[int, int] = 1, stride: int = 1,
    groups: int = 1, use_bias: bool = False, padding: str = '', activation: str = '',
    dtype: jnp.dtype | None = None,
  ):
    """A convolution, with bias and activation on request; `dtype` None = the network's."""
    depthwise = kernel != 1 and groups == x.shape[-1] == features
    conv = Conv(
      features, kernel, stride, padding or self.preset.padding, groups, use_bias, self.backend,
      dtype or self.dtype, self.depthwise_init if depthwise else fan_out_normal, name=name,
    )
    return checkpoint_name(conv(x, activation), CONV)

  def norm(self, x, name: str, train: bool, activation: str = '', zero_init: bool = False,
           attention: nn.Module | None = None):
    """BatchNorm, then activation and attention if given."""
    module = BatchNorm(
      self.preset, self.bn_groups, self.frozen_bn, self.backend, self.dtype, zero_init, name=name
    )
    return module(x, train, activation, attention)

  def act(self, x):
    """The network's activation."""
    return Activation(self.activation)(x)

  def conv_bn(self, x, name: str, train: bool, features: int, kernel=1, stride=1, *, act=True,
              zero_init=False, attention: nn.Module | None = None, **options):
    """Convolution `name`, BatchNorm `name`_bn, activation if `act`, attention if given.

    With `zero_init` the initial result is 0. A folded network has no `name`_bn: the convolution's
    kernel and bias contain it.

    Raises:
      UserError: training of a folded network.
    """
    activation = self.activation if act else ''
    if not self.folded:
      x = self.conv(x, name, features, kernel, stride, **options)
      return self.norm(x, f'{name}_bn', train, activation, zero_init, attention)
    if train:
      raise UserError('a network with folded BatchNorm cannot be trained; train the original.')
    options |= {'use_bias': True, 'activation': activation}
    x = self.conv(x, name, features, kernel, stride, **options)
    return x if attention is None else attention(x, train)

  def depthwise_bn(self, x, name: str, train: bool, kernel: int, stride: int = 1, **options):
    """Depthwise convolution, BatchNorm, activation, and attention if given."""
    channels = x.shape[-1]
    return self.conv_bn(x, name, train, channels, kernel, stride, groups=channels, **options)

  def pool(self, x, kind: str, kernel: int, stride: int, padding: str = ''):
    """Pooling of k x k windows, 'max' or 'mean'."""
    return Pool(kind, kernel, stride, padding or self.preset.padding, self.backend)(x)


def drop_path(x: jax.Array, rate: float, key: jax.Array) -> jax.Array:
  """Stochastic depth: drops a residual branch per image and scales what stays by 1 / (1 - rate).

  Source: Huang et al. 2016; TF EfficientNet's drop_connect. `x` is `[B, H, W, C]`, rate in [0, 1).
  """
  keep = jax.random.bernoulli(key, 1.0 - rate, (x.shape[0], 1, 1, 1))
  return jnp.where(keep, x / (1.0 - rate), jnp.zeros_like(x))
