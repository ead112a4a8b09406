"""Which attention a network has, and the place in a block that may get it."""

import dataclasses
from collections.abc import Callable


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
  """The static facts of a block on which its attention depends.

  Attributes:
    stage: stage number, from 1; the stem is not a stage.
    stages: how many stages the network has.
    index: the block's number in its stage, from 0.
    last: it is the last block of its stage.
    has_skip: the block adds its unchanged input to its output.
    stride: of the block.
    in_channels: of the block's input.
    mid_channels: of its k x k convolution's output.
    out_channels: of its output.
    planes: the width that the block is named after: a bottleneck's narrow one, else the output's.
    base_channels: those that the block's expansion counts from: its input's, but in MEC networks.
    activation: the network's.
    released_k: ECA's kernel size in the authors' weights of this network; None = there are none.
    position: where in the block the attention is; '' = nowhere.
  """

  stage: int
  stages: int
  index: int
  last: bool
  has_skip: bool
  stride: int
  in_channels: int
  mid_channels: int
  out_channels: int
  planes: int
  base_channels: int
  activation: str
  released_k: int | None = None
  position: str = ''

  @property
  def channels(self) -> int:
    """Channels of the tensor to be reweighted."""
    inner = {'pre': self.in_channels, 'depthwise': self.mid_channels, 'conv': self.mid_channels}
    return inner.get(self.position, self.out_channels)


# Which blocks; `Attention.stages` limits each of them further.
WHERE: dict[str, Callable[[Slot], bool]] = {
  'all': lambda slot: True,
  'skip': lambda slot: slot.has_skip,
  'noskip': lambda slot: not slot.has_skip,
  'stages': lambda slot: True,
  'last': lambda slot: slot.last,
  'alternate': lambda slot: slot.index % 2 == 1,
}


def placed(spec: Attention, slot: Slot, standard: str) -> Slot:
  """The slot with the position that the attention has in this block, '' for none."""
  chosen = WHERE[spec.where](slot) and (not spec.stages or slot.stage in spec.stages)
  position = spec.position if chosen else spec.elsewhere
  if spec.kind == 'none':
    position = ''
  return dataclasses.replace(slot, position=standard if position == 'standard' else position)
