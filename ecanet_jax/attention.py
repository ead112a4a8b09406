"""Channel attention as a slot that every network has: a kind, in some blocks, at a position.

A kind is a factory in ATTENTION, a choice of blocks a predicate in WHERE; positions belong to the
family, which lists those it has.
"""

import dataclasses
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from ecanet_jax.errors import UserError, lookup
from ecanet_jax.layers import ACTIVATION, PointwiseConv, fan_in_normal


@dataclasses.dataclass(frozen=True)
class Slot:
  """The static facts of the place in a network that may get an attention module.

  Attributes:
    stage: stage number, from 1; the stem is not a stage.
    stages: how many stages the network has.
    block_channels: channels of the block's input, on which EfficientNet's SE reduction is based.
    channels: channels of the tensor to be reweighted.
    has_skip: the block adds its input to its output.
    activation: the network's activation, which SE uses between its two layers.
  """

  stage: int
  stages: int
  block_channels: int
  channels: int
  has_skip: bool
  activation: str


@dataclasses.dataclass(frozen=True)
class Attention:
  """Which attention a network has, and where.

  Attributes:
    kind: a name of ATTENTION.
    where: a name of WHERE.
    stages: the stage numbers, with where='stages'.
    position: a place in the block that the family has.
    k: ECA's kernel size: () = adaptive (Eq. 9), (3,) = one for all, or one per stage.
    reduction: SE: block input channels / squeezed channels.
  """

  kind: str = 'none'
  where: str = 'all'
  stages: tuple[int, ...] = ()
  position: str = 'depthwise'
  k: tuple[int, ...] = ()
  reduction: float = 4.0


def eca_kernel_size(channels: int, gamma: float = 2.0, b: float = 1.0) -> int:
  """ECA's adaptive kernel size: |log2(C) / gamma + b / gamma|, to the nearest odd number.

  Truncates, then goes up when even, as in the paper's Fig. 3; at every EfficientNet width that is
  Eq. 9's nearest odd number. Source: Wang et al., ECA-Net, CVPR 2020, Eq. 9.
  """
  t = int(abs((math.log2(channels) + b) / gamma))
  return t if t % 2 else t + 1


class ECA(nn.Module):
  """Efficient channel attention: sigmoid of a 1-D convolution over the pooled channels.

  Wang et al., ECA-Net, CVPR 2020, Eq. 6 (with the sigmoid that the listing in Fig. 3 leaves out).
  `kernel` is `[k]`; zeros beyond the first and last channel; no bias.
  """

  kernel_size: int
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x):
    k, channels = self.kernel_size, x.shape[-1]
    kernel = self.param('kernel', fan_in_normal, (k,))
    squeezed = jnp.pad(squeeze(x), ((0, 0), (k // 2, k // 2)))  # [B, C + k - 1]
    logits = sum(squeezed[:, i : i + channels] * kernel[i] for i in range(k))
    return x * jax.nn.sigmoid(logits).astype(self.dtype)[:, None, None, :]


class SE(nn.Module):
  """Squeeze-and-excitation with two biased layers, as EfficientNet has it.

  Hu et al., Squeeze-and-Excitation Networks, CVPR 2018, Eq. 2-4; tensorflow/tpu for the biases and
  the activation between the layers.
  """

  reduced: int
  activation: str
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x):
    y = PointwiseConv(self.reduced, use_bias=True, name='reduce')(squeeze(x))
    y = ACTIVATION[self.activation](y)
    y = PointwiseConv(x.shape[-1], use_bias=True, name='expand')(y)
    return x * jax.nn.sigmoid(y).astype(self.dtype)[:, None, None, :]


def squeeze(x: jax.Array) -> jax.Array:
  """Global average pooling in float32: `[B, H, W, C]` -> `[B, C]`."""
  return x.astype(jnp.float32).mean((1, 2))


def _eca(spec: Attention, slot: Slot, dtype) -> nn.Module:
  if not spec.k:
    k = eca_kernel_size(slot.channels)
  elif len(spec.k) == 1:
    k = spec.k[0]
  elif len(spec.k) == slot.stages:
    k = spec.k[slot.stage - 1]
  else:
    raise UserError(
      f'attention.k={spec.k} has {len(spec.k)} kernel sizes; give none (Eq. 9), one for all, '
      f'or one for each of the {slot.stages} stages.'
    )
  if k < 1 or k % 2 == 0:
    raise UserError(f'attention.k={spec.k}: {k} is not an odd positive number, such as 3 or 5.')
  return ECA(k, dtype=dtype, name='attention')


def _se(spec: Attention, slot: Slot, dtype) -> nn.Module:
  reduced = max(1, int(slot.block_channels / spec.reduction))
  return SE(reduced, slot.activation, dtype=dtype, name='attention')


# Factories: a module made here belongs to the block that calls.
ATTENTION: dict[str, Callable[[Attention, Slot, jnp.dtype], nn.Module | None]] = {
  'none': lambda spec, slot, dtype: None,
  'se': _se,
  'eca': _eca,
}

WHERE: dict[str, Callable[[Attention, Slot], bool]] = {
  'all': lambda spec, slot: True,
  'skip': lambda spec, slot: slot.has_skip,
  'noskip': lambda spec, slot: not slot.has_skip,
  'stages': lambda spec, slot: slot.stage in spec.stages,
}


def check(spec: Attention, positions: tuple[str, ...], stages: int) -> None:
  """Raises UserError unless a family with these positions and stages can have this attention."""
  lookup(ATTENTION, spec.kind, 'attention.kind')
  lookup(WHERE, spec.where, 'attention.where')
  lookup(dict.fromkeys(positions), spec.position, 'attention.position')
  wrong = [s for s in spec.stages if not 1 <= s <= stages]
  if wrong or (spec.where == 'stages' and not spec.stages):
    raise UserError(
      f'attention.stages={spec.stages}: name one or more of the stages 1 to {stages}.'
    )
  if spec.reduction <= 0:
    raise UserError(f'attention.reduction={spec.reduction} must be above 0.')


def make_attention(spec: Attention, slot: Slot, dtype: jnp.dtype) -> nn.Module | None:
  """The slot's module, or None where there is none; call inside the block's `@nn.compact`."""
  if not WHERE[spec.where](spec, slot):
    return None
  return ATTENTION[spec.kind](spec, slot, dtype)
