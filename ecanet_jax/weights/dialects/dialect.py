"""What a dialect is: a naming of the same network in other code, as a table."""

import dataclasses
from collections.abc import Callable, Mapping

import flax.linen as nn

from ecanet_jax.nn.block import Block
from ecanet_jax.weights import layout

KINDS = {'classifier': 'dense', 'attention': 'eca'}


@dataclasses.dataclass(frozen=True)
class Dialect:
  """Our module name -> theirs, in the order of their state dict.

  Attributes:
    stem: modules before the blocks.
    block: prefix of a block's modules: a function of the block and its number in the network, or a
      format with its {name}, {stage} and {index}, and that {number}; all from 0, and from 1 as
      {stage1}, {index1}, {number1}.
    variants: per variant of a block (see `Family`), the modules in it, without the prefix.
    head: modules after the blocks; {after} is the number behind the last block's {number1},
      {after_stage} that behind its {stage1}.
    kinds: our module name, without the block, -> a name of `layouts`, where the array's shape does
      not tell.
    layouts: how the arrays of each kind of layer lie and what they are called.
    separator: between the parts of a name.
    import_only: nobody reads what we would write.
    misfit: what of a network with the same arrays is otherwise in their code, such as the padding,
      and what to choose; '' where the network is theirs. No key tells such a mistake.
  """

  stem: Mapping[str, str]
  block: str | Callable[[Block, int], str]
  variants: Mapping[str, Mapping[str, str]]
  head: Mapping[str, str]
  kinds: Mapping[str, str] = dataclasses.field(default_factory=lambda: KINDS)
  layouts: layout.Kinds = dataclasses.field(default_factory=lambda: layout.KINDS)
  separator: str = '.'
  import_only: bool = False
  misfit: Callable[[nn.Module], str] = lambda model: ''

  def prefix(self, block: Block, number: int) -> str:
    """What stands before the names of a block's modules."""
    if callable(self.block):
      return self.block(block, number)
    return self.block.format(
      name=block.name, stage=block.stage - 1, index=block.index, number=number,
      stage1=block.stage, index1=block.index + 1, number1=number + 1,
    )

  def key(self, module: str, array: str) -> str:
    """The name of a module's array."""
    return f'{module}{self.separator}{array}'

  def module(self, key: str) -> str:
    """The module of an array's name."""
    return key.rpartition(self.separator)[0]


@dataclasses.dataclass(frozen=True)
class Family:
  """What all dialects of a family share.

  Attributes:
    variant: which of the dialects' variants a block is.
    dialects: the tables.
  """

  variant: Callable[[Block], str]
  dialects: Mapping[str, Dialect]
