"""A published network: its name, where it was published, what makes it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn


@dataclasses.dataclass(frozen=True)
class Network:
  """A registered network.

  Attributes:
    name: what users type.
    family: the flax module that stacks it.
    source: paper or code, and the table or file in it.
    arguments: fields of the family's module.
    parameters: published number of parameters at 1000 classes; 0 where none was published.
    image_size: pixels, height = width, of its published evaluation.
    timm: the name of the same network in timm, '' where timm has none.
    timm_arguments: extra keyword arguments for `timm.create_model`.
  """

  name: str
  family: type[nn.Module]
  source: str
  arguments: Mapping[str, Any]
  parameters: int = 0
  image_size: int = 224
  timm: str = ''
  timm_arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
