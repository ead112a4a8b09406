"""Channel attention: squeeze each channel to one value, excite, gate, reweight.

Each kind is a subclass that computes the logits from the squeezed values. `x` is `[B, H, W, C]`.
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from ecanet_jax.nn.attention.slot import Attention, Slot
from ecanet_jax.nn.initializers import fan_in_uniform, fan_out_normal
from ecanet_jax.nn.layers import Activation, Layers
from ecanet_jax.ops import get_backend
from ecanet_jax.ops.attention import reweight, squeeze
from ecanet_jax.ops.pooling import largest
from ecanet_jax.runtime.errors import UserError


def _max(x: jax.Array) -> jax.Array:
  return largest(x.astype(jnp.float32), (1, 2))


# [B, H, W, C] -> [B, 1, 1, C]; 'both' -> [B, 2, 1, C]; 'none' keeps every pixel.
SQUEEZE: dict[str, Callable[[jax.Array], jax.Array]] = {
  'mean': squeeze,
  'max': _max,
  'both': lambda x: jnp.concatenate([squeeze(x), _max(x)], 1),
  'none': lambda x: x.astype(jnp.float32),
}

GATE: dict[str, Callable[[jax.Array], jax.Array]] = {
  'sigmoid': jax.nn.sigmoid,
  'hard_sigmoid': jax.nn.hard_sigmoid,
  'tanh': jnp.tanh,
  'relu': jax.nn.relu,
}


class AttentionModule(nn.Module):
  """Base of all kinds of attention; maps `[B, H, W, C]` to the same shape.

  Attributes:
    spec: the network's attention.
    slot: its place in the block.
    layers: the network's layers.
  """

  spec: Attention
  slot: Slot
  layers: Layers

  standard = ''  # the kind's own standard position; '' = the family's
  has_kernel_size = False  # whether it has ECA's k
  reads_mean = False  # it reweights channels by their means alone, with a method `weights`

  @classmethod
  def check(cls, spec: Attention, slot: Slot) -> None:
    """Raises UserError if this kind is impossible in the slot."""

  @classmethod
  def describe(cls, spec: Attention, slot: Slot) -> str:
    """Text for the block table, such as 'k=5'."""
    return ''


class ChannelAttention(AttentionModule):
  """x * gate(excite(squeeze(x))) (Hu et al., Squeeze-and-Excitation Networks, Eq. 2-4).

  Squeezed values and weights are float32. With squeeze='both' the logits of mean and maximum are
  added, as in CBAM; with 'none' every pixel has its own weights (the SENet slides' test that global
  information matters). `models.intermediates` returns `squeeze` and `weights`.
  """

  own_squeeze = ''  # for kinds with a fixed squeeze

  @property
  def squeeze(self) -> str:
    """A name of `SQUEEZE`."""
    return self.own_squeeze or self.spec.squeeze

  @property
  def reads_mean(self) -> bool:
    return self.squeeze == 'mean'

  def __call__(self, x, train: bool):
    if self.reads_mean:
      return get_backend(self.layers.backend).attend(x, self.weights)
    return reweight(x, self.weights(SQUEEZE[self.squeeze](x)))

  @nn.compact
  def weights(self, squeezed: jax.Array) -> jax.Array:
    """One float32 weight for each squeezed value, `[B, 1, 1, C]`."""
    logits = self.excite(squeezed)
    if self.squeeze == 'both':
      logits = logits.sum(1, keepdims=True)
    weights = GATE[self.spec.gate](logits)
    self.sow('intermediates', 'squeeze', squeezed)
    self.sow('intermediates', 'weights', weights)
    return weights

  def excite(self, y: jax.Array) -> jax.Array:
    """Logits `[..., C]` from squeezed values `[..., C]`."""
    raise NotImplementedError


class SE(ChannelAttention):
  """Squeeze-and-excitation: two layers with `channels / reduction` values between (Eq. 2-3)."""

  def excite(self, y):
    spec, channels = self.spec, y.shape[-1]
    reduced = squeezed_channels(spec, self.slot)
    dense = partial(self.layers.conv, use_bias=spec.bias, dtype=jnp.float32)
    y = dense(y, 'reduce', reduced)
    y = Activation(spec.activation or self.layers.activation)(y)
    return dense(y, 'expand', channels)

  @classmethod
  def describe(cls, spec, slot):
    return f'r={squeezed_channels(spec, slot)}'


def squeezed_channels(spec: Attention, slot: Slot) -> int:
  """Channels between SE's layers, truncated or rounded to the divisor; at least one divisor."""
  base = slot.block.base_channels or slot.block.in_channels
  whole = base if spec.reduction_of == 'block' else slot.channels
  exact = whole / spec.reduction
  if spec.divisor == 1:
    return max(1, int(exact))
  return max(spec.divisor, int(exact + spec.divisor / 2) // spec.divisor * spec.divisor)


class SEVar1(ChannelAttention):
  """SE-Var1: the squeezed values themselves, no parameters (ECA-Net, Table 1)."""

  def excite(self, y):
    return y


class SEVar2(ChannelAttention):
  """SE-Var2: a diagonal matrix, one weight per channel (ECA-Net, Table 1)."""

  def excite(self, y):
    kernel = self.param('kernel', nn.initializers.ones, (1, y.shape[-1]))
    return y * kernel[None, None]


class SEVar3(ChannelAttention):
  """SE-Var3: one full layer, C^2 weights (ECA-Net, Table 1)."""

  def excite(self, y):
    return self.layers.conv(y, 'mix', y.shape[-1], dtype=jnp.float32)


# Groups in ECA-Net, Table 1: SE-GC1 has 16 groups, SE-GC2 and 3 have groups of 16 and 8 channels.
GROUPS: dict[str, Callable[[int], int]] = {
  'se_gc1': lambda channels: 16,
  'se_gc2': lambda channels: channels // 16,
  'se_gc3': lambda channels: channels // 8,
}


class SEGC(ChannelAttention):
  """SE-GC: a block-diagonal matrix, `kernel` `[G, C / G, C / G]` (ECA-Net, Eq. 3)."""

  def excite(self, y):
    channels, groups = y.shape[-1], _groups(self.spec, self.slot)
    width = channels // groups
    kernel = self.param('kernel', fan_out_normal, (groups, width, width))
    parts = y.reshape(*y.shape[:-1], groups, width)
    return jnp.einsum('bhwgi,gio->bhwgo', parts, kernel).reshape(y.shape)

  @classmethod
  def check(cls, spec, slot):
    groups = _groups(spec, slot)
    if groups < 1 or slot.channels % groups:
      divisors = [g for g in range(1, slot.channels + 1) if slot.channels % g == 0]
      raise UserError(
        f'attention {spec.kind}: {groups} groups do not divide the {slot.channels} channels of '
        f'stage {slot.block.stage}; attention.groups can be {", ".join(map(str, divisors))}.'
      )

  @classmethod
  def describe(cls, spec, slot):
    return f'G={_groups(spec, slot)}'


def _groups(spec: Attention, slot: Slot) -> int:
  return spec.groups or GROUPS[spec.kind](slot.channels)


class Neighbours(ChannelAttention):
  """Base of ECA and ECA-NS: weights for the k nearest channels of each channel."""

  has_kernel_size = True

  def neighbours(self, y: jax.Array, kernel: jax.Array, edge: str = 'constant') -> jax.Array:
    """Sum of y's channels shifted k ways, each times a row of `kernel`, `[k, 1]` or `[k, C]`."""
    return get_backend(self.layers.backend).channel_conv(y, kernel, edge)

  @classmethod
  def describe(cls, spec, slot):
    return f'k={slot.k}'


class ECANS(Neighbours):
  """ECA-NS: every channel has its own k weights for its neighbours, `kernel` `[k, C]` (Eq. 4)."""

  def excite(self, y):
    return self.neighbours(y, self.param('kernel', fan_in_uniform, (self.slot.k, y.shape[-1])))


class ECA(Neighbours):
  """Efficient channel attention: a 1-D convolution over the channels (ECA-Net, Eq. 5-6).

  `kernel` is `[k]`, without bias; zeros pad the ends. The sigmoid is in Eq. 6, though not in the
  listing of Fig. 3.
  """

  edge = 'constant'  # zeros

  def excite(self, y):
    kernel = self.param('kernel', fan_in_uniform, (self.slot.k,))
    return self.neighbours(y, kernel[:, None], self.edge)


class CircularECA(ECA):
  """ECA whose channels are a ring: the last is the first one's neighbour (timm's CecaModule)."""

  edge = 'wrap'

  @classmethod
  def check(cls, spec, slot):
    if slot.k > slot.channels:
      raise UserError(
        f'attention eca_circular: k={slot.k} goes round the ring of {slot.channels} channels more '
        f'than once in stage {slot.block.stage}; at most '
        f'{slot.channels - 1 + slot.channels % 2}.'
      )
