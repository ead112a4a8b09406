"""Channel attention: squeeze the image to one value per channel, excite, gate, reweight.

A kind is a subclass that says how the logits come from the squeezed values. `x` is `[B, H, W, C]`.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from ecanet_jax.nn.attention.kernel_size import kernel_size
from ecanet_jax.nn.attention.slot import Attention, Slot
from ecanet_jax.nn.initializers import fan_in_uniform, fan_out_normal
from ecanet_jax.nn.layers import Activation, Layers, PointwiseConv
from ecanet_jax.ops import attention as ops
from ecanet_jax.runtime.errors import UserError


def _max(x: jax.Array) -> jax.Array:
  return x.astype(jnp.float32).max((1, 2), keepdims=True)


# [B, H, W, C] -> [B, 1, 1, C]; 'both' [B, 2, 1, C]; 'none' leaves every pixel.
SQUEEZE: dict[str, Callable[[jax.Array], jax.Array]] = {
  'mean': ops.squeeze,
  'max': _max,
  'both': lambda x: jnp.concatenate([ops.squeeze(x), _max(x)], 1),
  'none': lambda x: x.astype(jnp.float32),
}

GATE: dict[str, Callable[[jax.Array], jax.Array]] = {
  'sigmoid': jax.nn.sigmoid,
  'hard_sigmoid': jax.nn.hard_sigmoid,
  'tanh': jnp.tanh,
  'relu': jax.nn.relu,
}


class ChannelAttention(nn.Module):
  """x * gate(excite(squeeze(x))) (Hu et al., Squeeze-and-Excitation Networks, Eq. 2-4).

  Squeezed values and weights are float32. With squeeze='both' the logits of mean and maximum are
  added, as CBAM does; with 'none' every pixel has its own weights (the SENet slides' test that
  global information matters). On request it shows `squeeze` and `weights` (see `models.inside`).

  Attributes:
    spec: the network's attention.
    slot: the facts of this block.
    layers: the network's.
  """

  spec: Attention
  slot: Slot
  layers: Layers

  standard = ''  # the kind's own 'standard' position; '' = the family's
  own_squeeze = ''  # where the kind has no choice

  @property
  def reads_mean(self) -> bool:
    """It needs nothing of its input but the mean."""
    return (self.own_squeeze or self.spec.squeeze) == 'mean'

  @nn.compact
  def __call__(self, x, train: bool):
    squeeze = self.own_squeeze or self.spec.squeeze

    def weights_of(squeezed):
      logits = self.excite(squeezed)
      if squeeze == 'both':
        logits = logits.sum(1, keepdims=True)
      weights = GATE[self.spec.gate](logits)
      self.sow('intermediates', 'squeeze', squeezed)
      self.sow('intermediates', 'weights', weights)
      return weights.astype(self.layers.dtype)

    if self.reads_mean:
      return ops.attend(x, weights_of)
    return ops.reweight(x, weights_of(SQUEEZE[squeeze](x)))

  def excite(self, y: jax.Array) -> jax.Array:
    """Logits `[..., C]` of squeezed values `[..., C]`."""
    raise NotImplementedError

  @classmethod
  def check(cls, spec: Attention, slot: Slot) -> None:
    """Raises UserError where this kind is impossible."""

  @classmethod
  def describe(cls, spec: Attention, slot: Slot) -> str:
    """What the block table shows beside the kind, such as 'k=5'."""
    return ''


class SE(ChannelAttention):
  """Squeeze-and-excitation: two layers, `channels / reduction` values between them (Eq. 2-3)."""

  def excite(self, y):
    spec, channels = self.spec, y.shape[-1]
    reduced = squeezed_channels(spec, self.slot)
    y = PointwiseConv(reduced, use_bias=spec.bias, name='reduce')(y)
    y = Activation(spec.activation or self.slot.activation)(y)
    return PointwiseConv(channels, use_bias=spec.bias, name='expand')(y)

  @classmethod
  def describe(cls, spec, slot):
    return f'r={squeezed_channels(spec, slot)}'


def squeezed_channels(spec: Attention, slot: Slot) -> int:
  """Channels between SE's two layers: truncated, or rounded to the divisor; at least one of it."""
  whole = slot.base_channels if spec.reduction_of == 'block' else slot.channels
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
    return PointwiseConv(y.shape[-1], name='mix')(y)


# Groups of each SE-GC in Table 1: SE-GC1 has 16, the others 16 and 8 channels in each group.
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
        f'stage {slot.stage}; attention.groups can be {", ".join(map(str, divisors))}.'
      )

  @classmethod
  def describe(cls, spec, slot):
    return f'G={_groups(spec, slot)}'


def _groups(spec: Attention, slot: Slot) -> int:
  return spec.groups or GROUPS[spec.kind](slot.channels)


class Neighbours(ChannelAttention):
  """What ECA and ECA-NS share: k."""

  @classmethod
  def check(cls, spec, slot):
    kernel_size(spec, slot)

  @classmethod
  def describe(cls, spec, slot):
    return f'k={kernel_size(spec, slot)}'


class ECANS(Neighbours):
  """ECA-NS: every channel has its own k weights for its neighbours, `kernel` `[k, C]` (Eq. 4)."""

  def excite(self, y):
    k, channels = kernel_size(self.spec, self.slot), y.shape[-1]
    kernel = self.param('kernel', fan_in_uniform, (k, channels))
    padded = jnp.pad(y, ((0, 0), (0, 0), (0, 0), (k // 2, k // 2)))
    return sum(padded[..., i : i + channels] * kernel[i][None, None, None] for i in range(k))


class ECA(Neighbours):
  """Efficient channel attention: a 1-D convolution over the channels (ECA-Net, Eq. 5-6).

  `kernel` is `[k]`; zeros beyond the first and last channel; no bias. Eq. 6 has the sigmoid that
  the listing in the paper's Fig. 3 leaves out.
  """

  edge = 'constant'  # zeros

  def excite(self, y):
    k, channels = kernel_size(self.spec, self.slot), y.shape[-1]
    kernel = self.param('kernel', fan_in_uniform, (k,))
    padded = jnp.pad(y, ((0, 0), (0, 0), (0, 0), (k // 2, k // 2)), mode=self.edge)
    return sum(padded[..., i : i + channels] * kernel[i] for i in range(k))


class CircularECA(ECA):
  """ECA whose channels are a ring: the last is the first one's neighbour (timm's CecaModule)."""

  edge = 'wrap'

  @classmethod
  def check(cls, spec, slot):
    k = kernel_size(spec, slot)
    if k > slot.channels:
      raise UserError(
        f'attention eca_circular: k={k} goes round the ring of {slot.channels} channels more than '
        f'once in stage {slot.stage}; at most {slot.channels - 1 + slot.channels % 2}.'
      )
