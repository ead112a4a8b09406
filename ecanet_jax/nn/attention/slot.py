"""The attention of a network, and its place in a block."""

import dataclasses
from collections.abc import Callable

from ecanet_jax.nn.block import Block


@dataclasses.dataclass(frozen=True)
class Attention:
  """Kind, place and settings of a network's attention.

  Attributes:
    kind: a name of ATTENTION, such as 'eca'.
    where: a name of WHERE: the blocks that have the attention at `position`.
    stages: limits `where` to these stages, from 1; () = all.
    position: a position of the family's blocks; 'standard' = the published one.
    elsewhere: position in all other blocks; '' = none.
    k: ECA's kernel size: (3,) for all, or one per stage; () = by `k_policy`.
    k_policy: a name of K_POLICY.
    gamma: of ECA-Net's Eq. 9, or of the linear mapping.
    b: of the same.
    reduction: SE, CBAM: channels / squeezed channels.
    reduction_of: which channels are divided: 'channels' (those reweighted) or 'block' (those of the
      block before its expansion; in EfficientNet those of its input).
    divisor: the squeezed channels are rounded to a multiple of it.
    bias: SE: whether the two layers have biases.
    activation: SE: the activation between the two layers; '' = the network's.
    squeeze: a name of SQUEEZE.
    gate: a name of GATE.
    groups: SE-GC: groups of its layer; 0 = the kind's own.
  """

  kind: str = 'none'
  where: str = 'all'
  stages: tuple[int, ...] = ()
  position: str = 'standard'
  elsewhere: str = ''
  k: tuple[int, ...] = ()
  k_policy: str = 'eq9_output'
  gamma: float = 2.0
  b: float = 1.0
  reduction: float = 16.0
  reduction_of: str = 'channels'
  divisor: int = 1
  bias: bool = False
  activation: str = ''
  squeeze: str = 'mean'
  gate: str = 'sigmoid'
  groups: int = 0


@dataclasses.dataclass(frozen=True)
class Slot:
  """The attention of one block.

  Attributes:
    block: the block's facts.
    position: in the block; '' = no attention.
    k: ECA's kernel size; 0 for kinds without one.
  """

  block: Block
  position: str = ''
  k: int = 0

  @property
  def channels(self) -> int:
    """Channels of the tensor that is reweighted."""
    block = self.block
    inner = {'pre': block.in_channels, 'depthwise': block.mid_channels, 'conv': block.mid_channels}
    return inner.get(self.position, block.out_channels)


# Selections of blocks; `Attention.stages` limits them further.
WHERE: dict[str, Callable[[Block], bool]] = {
  'all': lambda block: True,
  'skip': lambda block: block.has_skip,
  'noskip': lambda block: not block.has_skip,
  'stages': lambda block: True,
  'last': lambda block: block.last,
  'alternate': lambda block: block.index % 2 == 1,
}


def position_of(spec: Attention, block: Block, standard: str) -> str:
  """Position of the attention in a block, '' = none; `standard` is the published position."""
  chosen = WHERE[spec.where](block) and (not spec.stages or block.stage in spec.stages)
  position = spec.position if chosen else spec.elsewhere
  position = standard if position == 'standard' else position
  nothing_there = position == 'identity' and not block.adds
  return '' if spec.kind == 'none' or nothing_there else position
