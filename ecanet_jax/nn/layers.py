"""What a layer is: convolutions with an explicit padding rule, BatchNorm, drop-path.

Everywhere `x` is `[B, H, W, C]`. Parameters and statistics are float32; `dtype` is what a layer
computes in. A network takes its layers from one `Layers`, which holds what they have in common.
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
from ecanet_jax.ops import cpu
from ecanet_jax.ops.attention import normalised
from ecanet_jax.ops.batch_norm import ACTIVATIONS, batch_norm, scale_shift
from ecanet_jax.ops.convolution import conv
from ecanet_jax.ops.depthwise import depthwise_conv
from ecanet_jax.runtime.errors import UserError

ACTIVATION: dict[str, Callable[[jax.Array], jax.Array]] = {
  'swish': nn.swish,
  'relu': nn.relu,
  'relu6': nn.relu6,
  'hard_swish': nn.hard_swish,
}


CONV = 'conv'  # what `jax.checkpoint` policies call the output of a convolution of `Layers`


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


class Biased(nn.Module):
  """What convolutions share: a bias, if they are to have one."""

  def bias_of(self, features: int):
    return self.param('bias', nn.initializers.zeros, (features,)) if self.use_bias else None


class Conv(Biased):
  """k x k convolution, of all channels or in groups; `kernel` is `[kh, kw, in / groups, out]`."""

  features: int
  kernel_size: int | tuple[int, int]
  stride: int
  padding: str
  groups: int = 1
  use_bias: bool = False
  implementation: str = 'auto'
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x, activation: str = ''):
    k = self.kernel_size
    size = (k, k) if isinstance(k, int) else k
    kernel = self.param(
      'kernel', fan_out_normal, (*size, x.shape[-1] // self.groups, self.features)
    )
    return conv(
      x.astype(self.dtype), kernel.astype(self.dtype), self.stride,
      explicit_padding(self.padding, x.shape[1:3], k, self.stride), self.groups,
      self.bias_of(self.features), activation, self.implementation,
    )


class PointwiseConv(Biased):
  """1x1 convolution; `kernel` is `[in, out]`."""

  features: int
  stride: int = 1
  use_bias: bool = False
  implementation: str = 'auto'
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x, activation: str = ''):
    kernel = self.param('kernel', fan_out_normal, (x.shape[-1], self.features))
    return conv(
      x.astype(self.dtype), kernel.astype(self.dtype)[None, None], self.stride, ((0, 0), (0, 0)),
      bias=self.bias_of(self.features), activation=activation, implementation=self.implementation,
    )


class DepthwiseConv(Biased):
  """k x k convolution of every channel by itself; `kernel` is `[k, k, C]`."""

  kernel_size: int
  stride: int
  padding: str
  use_bias: bool = False
  implementation: str = 'auto'
  dtype: jnp.dtype = jnp.float32
  kernel_init: Callable = fan_out_normal

  @nn.compact
  def __call__(self, x, activation: str = ''):
    k = self.kernel_size
    kernel = self.param('kernel', self.kernel_init, (k, k, x.shape[-1]))
    return depthwise_conv(
      x.astype(self.dtype), kernel.astype(self.dtype), self.stride,
      explicit_padding(self.padding, x.shape[1:3], k, self.stride), self.implementation,
      self.bias_of(x.shape[-1]), activation,
    )


class BatchNorm(nn.Module):
  """Batch normalisation over B, H and W (Ioffe and Szegedy, 2015), statistics in float32.

  Under jit the batch is the global one: with `groups` = 1 the statistics are those of all devices
  together; with as many groups as devices, every device normalises its own images and nothing is
  communicated. Running statistics are the mean over the groups.
  """

  preset: Preset
  groups: int = 1
  frozen: bool = False  # running statistics in training too
  implementation: str = 'auto'
  dtype: jnp.dtype = jnp.float32
  zero_init: bool = False  # the scale starts at 0, not 1

  @nn.compact
  def __call__(self, x, train: bool, activation: str = '', attended: bool = False):
    """Normalises `[B, H, W, C]`.

    Args:
      x: the images.
      train: with the batch's own statistics.
      activation: one of `ops.batch_norm.ACTIVATIONS`, applied to the result.
      attended: the result is for `ops.attention.attend` alone, which may write it; then it may be
        an `ops.attention.Normalised`.
    """
    channels = x.shape[-1]
    first = nn.initializers.zeros if self.zero_init else nn.initializers.ones
    scale = self.param('scale', first, (channels,))
    bias = self.param('bias', nn.initializers.zeros, (channels,))
    mean = self.variable('batch_stats', 'mean', jnp.zeros, (channels,), jnp.float32)
    var = self.variable('batch_stats', 'var', jnp.ones, (channels,), jnp.float32)
    if not train or self.frozen:
      inverse = scale * lax.rsqrt(var.value + self.preset.bn_eps)
      shift = bias - mean.value * inverse
      return scale_shift(x, inverse, shift, activation, self.implementation).astype(self.dtype)
    if x.shape[0] % self.groups:
      raise UserError(
        f'batch of {x.shape[0]} does not divide by bn_groups={self.groups}; '
        'bn_groups must divide the global batch.'
      )
    x = x.astype(self.dtype)
    facts = (scale, bias, mean.value, self.preset.bn_eps, activation)
    if attended and self.implementation != 'plain' and cpu.usable(x, scale):
      y, batch_mean, batch_var = normalised(x, *facts, self.groups)
    else:
      y, batch_mean, batch_var = batch_norm(
        x.reshape(self.groups, -1, channels), *facts, self.implementation  # [G, B/G * H * W, C]
      )
      y = y.reshape(x.shape)
    if not self.is_initializing():
      count = x.size // (self.groups * channels)
      unbias = count / max(count - 1, 1) if self.preset.unbiased_variance else 1.0
      decay = self.preset.bn_decay
      mean.value = decay * mean.value + (1 - decay) * batch_mean.mean(0)
      var.value = decay * var.value + (1 - decay) * unbias * batch_var.mean(0)
    return y


class Activation(nn.Module):
  """A name of ACTIVATION, applied to every value; a module, so that a count can see it.

  Where the layer before has applied it already, `done`, the values stay as they are.
  """

  kind: str

  @nn.compact
  def __call__(self, x, done: bool = False):
    return x if done else ACTIVATION[self.kind](x)


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
    convolution: implementation of all other convolutions, see `ops.convolution`.
    depthwise: implementation of the depthwise convolution, see `ops.depthwise`.
    batch_norm: implementation of BatchNorm in training, see `ops.batch_norm`.
    dtype: what the layers compute in.
    folded: convolutions hold the BatchNorm behind them, see `models.fold`; not for training.
    depthwise_init: what the kernels of depthwise convolutions are at the start.
  """

  preset: Preset
  activation: str = 'relu'
  bn_groups: int = 1
  frozen_bn: bool = False
  convolution: str = 'auto'
  depthwise: str = 'auto'
  batch_norm: str = 'auto'
  dtype: jnp.dtype = jnp.float32
  folded: bool = False
  depthwise_init: Callable = fan_out_normal

  def conv(
    self, x, name: str, features: int, kernel: int | tuple[int, int] = 1, stride: int = 1,
    groups: int = 1, use_bias: bool = False, padding: str = '', activation: str = '',
  ):
    """A convolution in the form that its sizes ask for: product, depthwise, or general.

    With a bias it can apply one of `ops.batch_norm.ACTIVATIONS` too.
    """
    channels = x.shape[-1]
    padding = padding or self.preset.padding
    common = {'use_bias': use_bias, 'dtype': self.dtype, 'name': name}
    if kernel == 1 and groups == 1:
      conv = PointwiseConv(features, stride, implementation=self.convolution, **common)
    elif groups == channels == features:
      conv = DepthwiseConv(
        kernel, stride, padding, implementation=self.depthwise, kernel_init=self.depthwise_init,
        **common,
      )
    else:
      conv = Conv(
        features, kernel, stride, padding, groups, implementation=self.convolution, **common
      )
    return checkpoint_name(conv(x, activation), CONV)

  def norm(self, x, name: str, train: bool, activation: str = '', zero_init: bool = False,
           attended: bool = False):
    module = BatchNorm(
      self.preset, self.bn_groups, self.frozen_bn, self.batch_norm, self.dtype, zero_init,
      name=name,
    )
    return module(x, train, activation, attended)

  def act(self, x, done: bool = False):
    return Activation(self.activation)(x, done)

  def conv_bn(self, x, name: str, train: bool, features: int, kernel=1, stride=1, *, act=True,
              zero_init=False, attended=False, **options):
    """Convolution `name`, BatchNorm `name`_bn, and the activation unless `act` is False.

    With `zero_init` its result is 0 at the start; with `attended` it is for an attention alone that
    reads its mean, see `BatchNorm`. A folded network has no `name`_bn: it is in the convolution's
    kernel and bias.

    Raises:
      UserError: training of a folded network.
    """
    fused = self.activation if act and self.activation in ACTIVATIONS else ''
    if self.folded:
      if train:
        raise UserError('a network with folded BatchNorm cannot be trained; train the original.')
      options |= {'use_bias': True, 'activation': fused}
      x = self.conv(x, name, features, kernel, stride, **options)
    else:
      x = self.conv(x, name, features, kernel, stride, **options)
      attended &= bool(fused) or not act
      x = self.norm(x, f'{name}_bn', train, fused, zero_init, attended)
    return self.act(x, done=bool(fused)) if act else x

  def depthwise_bn(self, x, name: str, train: bool, kernel: int, stride: int = 1, **options):
    """Depthwise convolution, BatchNorm and activation."""
    return self.conv_bn(
      x, name, train, x.shape[-1], kernel, stride, groups=x.shape[-1], **options
    )

  def pool(self, x, kind: str, kernel: int, stride: int, padding: str = ''):
    return Pool(kind, kernel, stride, padding or self.preset.padding)(x)


def drop_path(x: jax.Array, rate: float, key: jax.Array) -> jax.Array:
  """Stochastic depth: drops a residual branch per image and scales what stays by 1 / (1 - rate).

  Source: Huang et al. 2016; TF EfficientNet's drop_connect. `x` is `[B, H, W, C]`, rate in [0, 1).
  """
  keep = jax.random.bernoulli(key, 1.0 - rate, (x.shape[0], 1, 1, 1))
  return jnp.where(keep, x / (1.0 - rate), jnp.zeros_like(x))
