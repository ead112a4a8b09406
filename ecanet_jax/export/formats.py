"""The formats by name."""

import pathlib
from collections import Counter
from collections.abc import Callable
from typing import Protocol

import numpy as np

from ecanet_jax.export.forward import Forward
from ecanet_jax.export.onnx.file import Onnx
from ecanet_jax.export.options import ExportOptions
from ecanet_jax.export.saved_model import SavedModel
from ecanet_jax.export.stablehlo import StableHLO
from ecanet_jax.export.tflite import file as tflite

Program = Callable[[np.ndarray], np.ndarray]  # float32 [B, H, W, C] -> float32 [B, K]


class Format(Protocol):
  """A kind of file.

  Attributes:
    name: its key in FORMATS.
    suffix: of the file's name; '' for a folder.
    extra: of ecanet_jax, which contains its runtime; None = a plain installation has it.
    backend: of the network that it writes, a name of `ops.BACKENDS`; 'portable' has ECA as a
      convolution.
    tolerance: the largest difference of a logit, relative to the largest logit; infinite for
      formats that round the weights.
    cosine: the least that the median cosine between an image's logits and ours may be; 0 where
      `tolerance` counts.
  """

  name: str
  suffix: str
  extra: str | None
  backend: str
  tolerance: float
  cosine: float

  def write(self, forward: Forward, path: pathlib.Path, options: ExportOptions) -> None:
    """Writes the network to a new file, or folder, on this machine."""

  def load(self, path: pathlib.Path) -> Program:
    """Loads a file in its own runtime, on the CPU.

    A file with a fixed batch takes exactly so many images.
    """

  def operators(self, path: pathlib.Path) -> Counter[str]:
    """The operators in a file and how often each occurs."""

  def convolutions(self, operators: Counter[str]) -> int:
    """How many of the operators are convolutions, depthwise ones included."""


FORMATS: dict[str, Format] = {
  'stablehlo': StableHLO(),
  'saved_model': SavedModel(),
  'onnx': Onnx(),
  'tflite': tflite.FLOAT32,
  'tflite_f16': tflite.FLOAT16,
  'tflite_w8': tflite.INT8_WEIGHTS,
  'tflite_int8': tflite.INT8,
}
