"""One key of a config."""

import dataclasses
from typing import Any

from ecanet_jax.config.rules import Rule


@dataclasses.dataclass(frozen=True)
class Key:
  """One key.

  Attributes:
    name: with its sections, such as 'data.image_size'.
    default: the default value; a type = not set: the registered network's value counts.
    meaning: for a reader.
    rule: for every value. Rules that involve other keys are checked where the keys are used.
  """

  name: str
  default: Any
  meaning: str
  rule: Rule | None = None
