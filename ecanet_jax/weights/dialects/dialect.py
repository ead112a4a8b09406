"""A dialect: the names that other code gives to the modules of the same network, as a table."""

import dataclasses
from collections.abc import Callable, Mapping

import flax.linen as nn

from ecanet_jax.nn.block import Block
from ecanet_jax.weights import layout

KINDS = {'classifier': 'dense', 'attention': 'eca'}


@dataclasses.dataclass(frozen=True)
class Dialect:
  """Maps our module names to theirs, in the order of their state dict.

  Attributes:
    stem: the modules before the blocks.
    block: the prefix of a block's modules: a function of the block and its number in the network,
      or a format string with {name}, {stage}, {index} and {number}, which count from 0, and
      {stage1}, {index1} and {number1}, which count from 1.
    variants: variant of a block (see `Family`) -> its modules, without the prefix.
    head: the modules after the blocks; {after} is the last block's {number1} plus 1, {after_stage}
      its {stage1} plus 1.
    kinds: our module name without the block -> a name of `layouts`, where the shape of the array
      does not decide.
    layouts: the layout and the names of the arrays of each kind of layer.
    separator: between the parts of a name.
    import_only: nothing is exported in this dialect.
    counters: BatchNorm's state has `num_batches_tracked`.
    backbone: of a detector: the prefix of its backbone's modules.
    misfit: says what differs in their code for a network with the same arrays, such as the padding,
      and what to choose; '' for a network that they compute the same. The arrays cannot tell.
  """

  stem: Mapping[str, str]
  block: str | Callable[[Block, int], str]
  variants: Mapping[str, Mapping[str, str]]
  head: Mapping[str, str]
  kinds: Mapping[str, str] = dataclasses.field(default_factory=lambda: KINDS)
  layouts: layout.Kinds = dataclasses.field(default_factory=lambda: layout.KINDS)
  separator: str = '.'
  import_only: bool = False
  counters: bool = True
  backbone: str = ''
  misfit: Callable[[nn.Module], str] = lambda model: ''

  def prefix(self, block: Block, number: int) -> str:
    """Returns the prefix of the names of a block's modules."""
    if callable(self.block):
      return self.block(block, number)
    return self.block.format(
      name=block.name, stage=block.stage - 1, index=block.index, number=number,
      stage1=block.stage, index1=block.index + 1, number1=number + 1,
    )

  def key(self, module: str, array: str) -> str:
    """Returns the name of a module's array."""
    return f'{module}{self.separator}{array}'

  def module(self, key: str) -> str:
    """Returns the name of the module that an array belongs to."""
    return key.rpartition(self.separator)[0]


@dataclasses.dataclass(frozen=True)
class Family:
  """The dialects of a family of networks.

  Attributes:
    variant: returns which of the dialects' variants a block is.
    dialects: the tables, by name.
  """

  variant: Callable[[Block], str]
  dialects: Mapping[str, Dialect]
