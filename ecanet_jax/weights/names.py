"""What the modules of a network are called elsewhere: one table per family and dialect.

A dialect is a naming of the same network in other code. A new one is one more table here; the
engine that reads the tables, in both directions, is `modules` below and convert.py.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.linen as nn

from ecanet_jax.errors import UserError, lookup
from ecanet_jax.models.efficientnet import EfficientNet


@dataclasses.dataclass(frozen=True)
class Dialect:
  """Our module name -> theirs, in the order of their state dict.

  Attributes:
    stem: modules before the blocks.
    block: prefix of a block's modules; {stage} and {index} are the block's, {number} counts the
      blocks of the whole network; all from 0, and from 1 as {stage1}, {index1}, {number1}.
    variants: per variant of a block (see `Family`), the modules in it, without the prefix.
    head: modules after the blocks.
  """

  stem: Mapping[str, str]
  block: str
  variants: Mapping[str, Mapping[str, str]]
  head: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Family:
  """What all dialects of a family share.

  Attributes:
    kinds: our module name, without the block, -> a name of `layout.KINDS`.
    variant: which of the dialects' variants a block is.
    dialects: the tables.
  """

  kinds: Mapping[str, str]
  variant: Callable[[Any], str]
  dialects: Mapping[str, Dialect]


@dataclasses.dataclass(frozen=True)
class Module:
  """A module by both names: `ours` is 'blocks_1_0/expand', `theirs` 'blocks.1.0.conv_pw'."""

  ours: str
  theirs: str
  kind: str


# huggingface/pytorch-image-models, timm/models/efficientnet.py and _efficientnet_blocks.py: a block
# without expansion is a DepthwiseSeparableConv and counts its BatchNorms from the depthwise one.
_EFFICIENTNET_TIMM = Dialect(
  stem={'stem': 'conv_stem', 'stem_bn': 'bn1'},
  block='blocks.{stage}.{index}.',
  variants={
    'plain': {
      'depthwise': 'conv_dw',
      'depthwise_bn': 'bn1',
      'attention': 'se.conv',
      'attention/reduce': 'se.conv_reduce',
      'attention/expand': 'se.conv_expand',
      'project': 'conv_pw',
      'project_bn': 'bn2',
    },
    'expanded': {
      'expand': 'conv_pw',
      'expand_bn': 'bn1',
      'depthwise': 'conv_dw',
      'depthwise_bn': 'bn2',
      'attention': 'se.conv',
      'attention/reduce': 'se.conv_reduce',
      'attention/expand': 'se.conv_expand',
      'project': 'conv_pwl',
      'project_bn': 'bn3',
    },
  },
  head={'head': 'conv_head', 'head_bn': 'bn2', 'classifier': 'classifier'},
)

# lukemelas/EfficientNet-PyTorch, model.py; also the lite forks. It has no ECA.
_LUKEMELAS_BLOCK = {
  'expand': '_expand_conv',
  'expand_bn': '_bn0',
  'depthwise': '_depthwise_conv',
  'depthwise_bn': '_bn1',
  'attention/reduce': '_se_reduce',
  'attention/expand': '_se_expand',
  'project': '_project_conv',
  'project_bn': '_bn2',
}
_EFFICIENTNET_LUKEMELAS = Dialect(
  stem={'stem': '_conv_stem', 'stem_bn': '_bn0'},
  block='_blocks.{number}.',
  variants={'plain': _LUKEMELAS_BLOCK, 'expanded': _LUKEMELAS_BLOCK},
  head={'head': '_conv_head', 'head_bn': '_bn1', 'classifier': '_fc'},
)

FAMILIES: dict[type[nn.Module], Family] = {
  EfficientNet: Family(
    kinds={
      'stem': 'conv',
      'stem_bn': 'norm',
      'expand': 'pointwise',
      'expand_bn': 'norm',
      'depthwise': 'depthwise',
      'depthwise_bn': 'norm',
      'attention': 'eca',
      'attention/reduce': 'pointwise',
      'attention/expand': 'pointwise',
      'project': 'pointwise',
      'project_bn': 'norm',
      'head': 'pointwise',
      'head_bn': 'norm',
      'classifier': 'dense',
    },
    variant=lambda block: 'plain' if block.expand == 1 else 'expanded',
    dialects={'timm': _EFFICIENTNET_TIMM, 'lukemelas': _EFFICIENTNET_LUKEMELAS},
  ),
}


def family(model: nn.Module) -> Family:
  """The model's family.

  Raises:
    UserError: no table for this kind of network.
  """
  if type(model) in FAMILIES:
    return FAMILIES[type(model)]
  known = ', '.join(sorted(kind.__name__ for kind in FAMILIES))
  raise UserError(f'{type(model).__name__} has no names in other code. Known families: {known}.')


def modules(model: nn.Module, dialect: str) -> Iterator[Module]:
  """Every module that a network with the model's blocks can have, in the dialect's order.

  Both kinds of attention are among them; which of the modules the model has is for the caller to
  see in its parameters.

  Args:
    model: a network of a family in FAMILIES.
    dialect: a name of the family's dialects.

  Raises:
    UserError: an unknown family or dialect.
  """
  of = family(model)
  table = lookup(of.dialects, dialect, 'dialect')
  for ours, theirs in table.stem.items():
    yield Module(ours, theirs, of.kinds[ours])
  for number, block in enumerate(model.blocks()):
    prefix = table.block.format(
      stage=block.stage, index=block.index, number=number,
      stage1=block.stage + 1, index1=block.index + 1, number1=number + 1,
    )
    for ours, theirs in table.variants[of.variant(block)].items():
      yield Module(f'{block.name}/{ours}', prefix + theirs, of.kinds[ours])
  for ours, theirs in table.head.items():
    yield Module(ours, theirs, of.kinds[ours])
