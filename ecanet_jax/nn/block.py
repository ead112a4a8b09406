"""The static facts of a block of a network."""

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
    last: it is the last block of its stage.
    in_channels: of its input.
    mid_channels: of its k x k convolution's output.
    out_channels: of its output.
    kernel: of its k x k convolution, in pixels.
    stride: in pixels.
    has_skip: the block adds its unchanged input.
    adds: it adds its input, unchanged or projected.
    module: the block's flax module.
    planes: a bottleneck's narrow width; 0 = it has none.
    base_channels: those that its expansion and SE's reduction count from; 0 = in_channels.
    released_k: ECA's kernel size in its authors' weights; None = there are none.
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
    """The width that the block is named after: a bottleneck's narrow one, else its output's."""
    return self.planes or self.out_channels
