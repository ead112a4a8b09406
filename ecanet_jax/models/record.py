"""The record of a published network: name, family, arguments and published figures."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

MILLION, MEBI = 10**6, 2**20
GIGA, GIBI = 10**9, 2**30


@dataclasses.dataclass(frozen=True)
class Published:
  """The figures of one table for a network, as printed, so that their precision is known.

  Attributes:
    source: document and table.
    parameters: '' if the table has none.
    parameter_unit: 10^6 or 2^20 for a figure in millions; 1 for an exact count.
    multiply_adds: '' if the table has none.
    multiply_add_unit: 10^6, 2^20, 10^9 or 2^30.
    convention: what the table counts, a name of `count.CONVENTIONS`.
    top1: accuracy on ImageNet's validation set in per cent; '' if the table has none.
    top5: likewise.
    why: the figure that cannot be matched, if any, and the reason; one line.
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
    family: its flax module.
    source: paper or code, with the table or file.
    arguments: fields of the family's module.
    published: figures of documents.
    image_size: height and width in pixels of its published evaluation.
    timm: the name of the same network in timm; '' if timm has none.
    timm_arguments: extra keyword arguments for `timm.create_model`.
    timm_dialect: the dialect of its state dict, see `weights.dialects`.
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
