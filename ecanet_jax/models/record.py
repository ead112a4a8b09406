"""A published network: its name, what makes it, and the figures that were published of it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

MILLION, MEBI = 10**6, 2**20
GIGA, GIBI = 10**9, 2**30


@dataclasses.dataclass(frozen=True)
class Published:
  """What one table says of a network; figures as printed, so that their precision is known.

  Attributes:
    source: document and table.
    parameters: as printed, '' where the table has none.
    parameter_unit: 10^6 or 2^20 for a figure in millions; 1 for an exact count.
    multiply_adds: as printed, '' where the table has none.
    multiply_add_unit: 10^6, 2^20, 10^9 or 2^30.
    convention: what the table counts, a name of `count.CONVENTIONS`.
    top1: accuracy on ImageNet's validation set in per cent, '' where the table has none.
    top5: the same.
    why: one line, if a figure cannot be matched: which and why.
  """

  source: str
  parameters: str = ''
  parameter_unit: int = MILLION
  multiply_adds: str = ''
  multiply_add_unit: int = GIGA
  convention: str = 'multiply_adds'
  top1: str = ''
  top5: str = ''
  why: str = ''


@dataclasses.dataclass(frozen=True)
class Network:
  """A registered network.

  Attributes:
    name: what users type.
    family: the flax module that stacks it.
    source: paper or code, and the table or file in it.
    arguments: fields of the family's module.
    published: what the documents say of it.
    image_size: pixels, height = width, of its published evaluation.
    timm: the name of the same network in timm, '' where timm has none.
    timm_arguments: extra keyword arguments for `timm.create_model`.
    timm_dialect: whose names its state dict has, a dialect of `weights.names`.
  """

  name: str
  family: type[nn.Module]
  source: str
  arguments: Mapping[str, Any]
  published: tuple[Published, ...] = ()
  image_size: int = 224
  timm: str = ''
  timm_arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  timm_dialect: str = 'timm'
