"""What a dialect is: a naming of the same network in other code, as a table."""

import dataclasses
from collections.abc import Callable, Mapping

from ecanet_jax.models.convnet import Block

_KINDS = {'classifier': 'dense', 'attention': 'eca'}


@dataclasses.dataclass(frozen=True)
class Dialect:
  """Our module name -> theirs, in the order of their state dict.

  Attributes:
    stem: modules before the blocks.
    block: prefix of a block's modules: a function of the block and its number in the network, or a
      format with its {name}, {stage} and {index}, and that {number}; all from 0, and from 1 as
      {stage1}, {index1}, {number1}.
    variants: per variant of a block (see `Family`), the modules in it, without the prefix.
    head: modules after the blocks; {after} is the number behind the last block's {number1}.
    kinds: our module name, without the block, -> a name of `layout.KINDS`, where the array's shape
      does not tell.
  """

  stem: Mapping[str, str]
  block: str | Callable[[Block, int], str]
  variants: Mapping[str, Mapping[str, str]]
  head: Mapping[str, str]
  kinds: Mapping[str, str] = dataclasses.field(default_factory=lambda: _KINDS)

  def prefix(self, block: Block, number: int) -> str:
    """What stands before the names of a block's modules."""
    if callable(self.block):
      return self.block(block, number)
    return self.block.format(
      name=block.name, stage=block.stage, index=block.index, number=number,
      stage1=block.stage + 1, index1=block.index + 1, number1=number + 1,
    )


@dataclasses.dataclass(frozen=True)
class Family:
  """What all dialects of a family share.

  Attributes:
    variant: which of the dialects' variants a block is.
    dialects: the tables.
  """

  variant: Callable[[Block], str]
  dialects: Mapping[str, Dialect]
