"""ONNX files: written with the package `onnx` alone, run by ONNX Runtime."""

import dataclasses
import pathlib
from collections import Counter

from ecanet_jax.export.forward import Forward
from ecanet_jax.export.options import ExportOptions


@dataclasses.dataclass(frozen=True)
class Onnx:
  """See `formats.Format`."""

  name: str = 'onnx'
  suffix: str = '.onnx'
  extra: str | None = 'onnx'
  backend: str = 'portable'
  tolerance: float = 1e-4
  cosine: float = 0.0

  def write(self, forward: Forward, path: pathlib.Path, options: ExportOptions) -> None:
    raise NotImplementedError

  def load(self, path: pathlib.Path):
    raise NotImplementedError

  def operators(self, path: pathlib.Path) -> Counter[str]:
    raise NotImplementedError

  def convolutions(self, operators: Counter[str]) -> int:
    return operators['Conv']
