"""The names of a network's modules in other code: one table per family and dialect.

To add a dialect, add a table to its family's file. `modules` below and convert.py read the tables,
in both directions.
"""

import dataclasses
from collections.abc import Iterator

import flax.linen as nn

from ecanet_jax.detection.networks.faster_rcnn import FasterRCNN
from ecanet_jax.detection.networks.retinanet import RetinaNet
from ecanet_jax.models.efficientnet import EfficientNet
from ecanet_jax.models.inception_resnet_v2 import InceptionResNetV2
from ecanet_jax.models.mobilenetv2 import MobileNetV2
from ecanet_jax.models.resnet import ResNet
from ecanet_jax.models.vgg import VGG
from ecanet_jax.runtime.errors import UserError, lookup
from ecanet_jax.weights.dialects.detection import FASTER_RCNN, RETINANET, backbone_dialect
from ecanet_jax.weights.dialects.dialect import Dialect, Family
from ecanet_jax.weights.dialects.efficientnet import EFFICIENTNET
from ecanet_jax.weights.dialects.inception_resnet_v2 import INCEPTION_RESNET_V2
from ecanet_jax.weights.dialects.mobilenetv2 import MOBILENETV2
from ecanet_jax.weights.dialects.resnet import RESNET
from ecanet_jax.weights.dialects.vgg import VGG_16

__all__ = [
  'FAMILIES', 'Dialect', 'Family', 'Module', 'check_fit', 'dialect_of', 'family', 'modules',
]

FAMILIES: dict[type[nn.Module], Family] = {
  EfficientNet: EFFICIENTNET,
  MobileNetV2: MOBILENETV2,
  ResNet: RESNET,
  VGG: VGG_16,
  InceptionResNetV2: INCEPTION_RESNET_V2,
  FasterRCNN: FASTER_RCNN,
  RetinaNet: RETINANET,
}


@dataclasses.dataclass(frozen=True)
class Module:
  """A module under both names.

  Attributes:
    ours: such as 'blocks_1_0/expand'.
    theirs: such as 'blocks.1.0.conv_pw'.
    kind: a name of the dialect's layouts; '' = the shapes of its arrays decide.
  """

  ours: str
  theirs: str
  kind: str


def family(model: nn.Module) -> Family:
  """Returns the tables of the model's family.

  Raises:
    UserError: there is none for this kind of network.
  """
  for kind in type(model).__mro__:
    if kind in FAMILIES:
      return FAMILIES[kind]
  known = ', '.join(sorted(kind.__name__ for kind in FAMILIES))
  raise UserError(f'{type(model).__name__} has no names in other code. Known families: {known}.')


def dialect_of(model: nn.Module, dialect: str) -> Dialect:
  """Returns the table of a dialect of the model's family.

  Raises:
    UserError: an unknown family or dialect.
  """
  return lookup(family(model).dialects, dialect, 'dialect')


def check_fit(model: nn.Module, dialect: str) -> None:
  """Checks that the dialect's code computes the same as the model from the same arrays.

  Raises:
    UserError: its padding or its BatchNorm differs; the message says what to choose.
  """
  if reason := dialect_of(model, dialect).misfit(model):
    raise UserError(f'dialect {dialect!r}: {reason}')


def modules(model: nn.Module, dialect: str) -> Iterator[Module]:
  """Yields every module that a network with the model's blocks can have, in the dialect's order.

  This includes the modules of every kind of attention. The caller looks up in the model's
  parameters which of them the model has.

  Args:
    model: a network of a family in FAMILIES.
    dialect: a name of the family's dialects.

  Raises:
    UserError: an unknown family or dialect.
  """
  of = family(model)
  table = dialect_of(model, dialect)
  if table.backbone:
    for each in modules(model.backbone, backbone_dialect(model.backbone)):
      yield Module(f'backbone/{each.ours}', table.backbone + each.theirs, each.kind)
    for ours, theirs in table.head.items():
      yield Module(ours, theirs, table.kinds.get(ours, ''))
    return
  for ours, theirs in table.stem.items():
    yield Module(ours, theirs, table.kinds.get(ours, ''))
  number = stage = -1
  for number, block in enumerate(model.blocks()):
    stage = block.stage - 1
    prefix = table.prefix(block, number)
    for ours, theirs in table.variants.get(of.variant(block), {}).items():
      yield Module(f'{block.name}/{ours}', prefix + theirs, table.kinds.get(ours, ''))
  for ours, theirs in table.head.items():
    theirs = theirs.format(after=number + 2, after_stage=stage + 2)
    yield Module(ours, theirs, table.kinds.get(ours, ''))
