"""SavedModel of TensorFlow, a folder. The network is one operator of StableHLO in it."""

import dataclasses
import pathlib
from collections import Counter

import numpy as np

from ecanet_jax.export.forward import Forward
from ecanet_jax.export.options import ExportOptions
from ecanet_jax.export.packages import require


@dataclasses.dataclass(frozen=True)
class SavedModel:
  """See `formats.Format`."""

  name: str = 'saved_model'
  suffix: str = ''
  extra: str | None = 'train'
  backend: str = 'xla'
  tolerance: float = 1e-4
  cosine: float = 0.0

  def write(self, forward: Forward, path: pathlib.Path, options: ExportOptions) -> None:
    raise NotImplementedError

  def load(self, path: pathlib.Path):
    raise NotImplementedError

  def operators(self, path: pathlib.Path) -> Counter[str]:
    raise NotImplementedError

  def convolutions(self, operators: Counter[str]) -> int:
    raise NotImplementedError
