"""Which attention a network has, and where a block has it."""

import dataclasses
from collections.abc import Callable

from ecanet_jax.nn.block import Block


@dataclasses.dataclass(frozen=True)
class Attention:
  """Which attention a network has, and where.

  Attributes:
    kind: a name of ATTENTION.
    where: a name of WHERE: the blocks that get it at `position`.
    stages: stage numbers, from 1, to which `where` is limited; () = all.
    position: a place in the block that the family has; 'standard' = the family's published one.
    elsewhere: the place in all other blocks; '' = none there.
    k: ECA's kernel size: (3,) = one for all, or one per stage; () = by `k_policy`.
    k_policy: a name of K_POLICY.
    gamma: of the k policies that compute.
    b: of the k policies that compute.
    reduction: SE, CBAM: channels / squeezed channels.
    reduction_of: the channels meant: 'channels' (those to be reweighted) or 'block' (those that
      its expansion counts from: in EfficientNet its input's).
    divisor: squeezed channels are rounded to a multiple of it.
    bias: SE: its two layers have biases.
    activation: SE: between its two layers; '' = the network's.
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
  """A block's attention: where in the block it is, and ECA's kernel size there.

  Attributes:
    block: the block's facts.
    position: where in the block the attention is; '' = nowhere.
    k: ECA's kernel size; 0 for kinds without one.
  """

  block: Block
  position: str = ''
  k: int = 0

  @property
  def channels(self) -> int:
    """Channels of the tensor to be reweighted."""
    block = self.block
    inner = {'pre': block.in_channels, 'depthwise': block.mid_channels, 'conv': block.mid_channels}
    return inner.get(self.position, block.out_channels)


# Which blocks; `Attention.stages` limits each of them further.
WHERE: dict[str, Callable[[Block], bool]] = {
  'all': lambda block: True,
  'skip': lambda block: block.has_skip,
  'noskip': lambda block: not block.has_skip,
  'stages': lambda block: True,
  'last': lambda block: block.last,
  'alternate': lambda block: block.index % 2 == 1,
}


def position_of(spec: Attention, block: Block, standard: str) -> str:
  """Where in the block the attention is, '' for nowhere; `standard` is the published place."""
  chosen = WHERE[spec.where](block) and (not spec.stages or block.stage in spec.stages)
  position = spec.position if chosen else spec.elsewhere
  position = standard if position == 'standard' else position
  nothing_there = position == 'identity' and not block.adds
  return '' if spec.kind == 'none' or nothing_there else position
