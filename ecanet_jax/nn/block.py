"""The static facts of a network's block."""

import dataclasses

import flax.linen as nn


@dataclasses.dataclass(frozen=True)
class Block:
  """Static facts of one block; a family adds its own in a subclass.

  Attributes:
    name: of its module.
    kind: for the block table, such as 'MBConv6'.
    stage: from 1; the stem is not a stage.
    index: in its stage, from 0.
    last: whether it is the last block of its stage.
    in_channels: of the input.
    mid_channels: of the output of its k x k convolution.
    out_channels: of the output.
    kernel: of its k x k convolution, in pixels.
    stride: in pixels.
    has_skip: whether it adds its unchanged input.
    adds: whether it adds its input, unchanged or projected.
    module: its flax module.
    planes: narrow width of a bottleneck; 0 for other blocks.
    base_channels: channels to which expansion and SE's reduction refer; 0 = in_channels.
    released_k: ECA's kernel size in its authors' weights; None if there are none.
  """

  name: str
  kind: str
  stage: int
  index: int
  last: bool
  in_channels: int
  mid_channels: int
  out_channels: int
  kernel: int
  stride: int
  has_skip: bool
  adds: bool
  module: type[nn.Module]
  planes: int = 0
  base_channels: int = 0
  released_k: int | None = None

  @property
  def width(self) -> int:
    """Width after which the block is named: a bottleneck's narrow one, else the output's."""
    return self.planes or self.out_channels
