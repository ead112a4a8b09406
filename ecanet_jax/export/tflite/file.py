"""TFLite files, run by LiteRT: in float32, with rounded weights, or in int8."""

import dataclasses
import math
import pathlib
from collections import Counter
from typing import Any

import numpy as np

from ecanet_jax.export.forward import Forward
from ecanet_jax.export.options import ExportOptions
from ecanet_jax.export.packages import require
from ecanet_jax.export.tflite.converter import convert
from ecanet_jax.export.tflite.operators import count_operators
from ecanet_jax.export.tflite.quantize import WEIGHTS, int8
from ecanet_jax.runtime.errors import UserError


@dataclasses.dataclass(frozen=True)
class TFLite:
  """See `formats.Format`. A file takes a fixed number of images, by default one.

  Attributes:
    weights: how they are stored, a name of `quantize.WEIGHTS`.
    integer: whether all is computed in int8.
  """

  name: str = 'tflite'
  suffix: str = '.tflite'
  extra: str | None = 'tflite'
  backend: str = 'portable'
  tolerance: float = 1e-4
  cosine: float = 0.0
  weights: str = 'float32'
  integer: bool = False

  def write(self, forward: Forward, path: pathlib.Path, options: ExportOptions) -> None:
    if self.integer and options.calibration is None:
      raise UserError(
        f'{self.name} needs photographs that set its ranges; give a few by --calibrate=DIR.'
      )
    batch = options.batch or 1
    data = convert(forward, batch)
    if self.integer:
      data = int8(data, options.calibration, batch)
    path.write_bytes(WEIGHTS[self.weights](data))

  def load(self, path: pathlib.Path):
    runtime = require('ai_edge_litert.interpreter', 'ai-edge-litert', 'tflite')
    interpreter = runtime.Interpreter(model_content=path.read_bytes())
    interpreter.allocate_tensors()
    (given,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    batch = int(given['shape'][0])

    def call(images: np.ndarray) -> np.ndarray:
      interpreter.set_tensor(given['index'], _encoded(images, given))
      interpreter.invoke()
      return _decoded(interpreter.get_tensor(result['index']), result)

    return lambda images: np.concatenate([
      call(images[start : start + batch]) for start in range(0, len(images), batch)
    ])

  def operators(self, path: pathlib.Path) -> Counter[str]:
    return count_operators(path.read_bytes())

  def convolutions(self, operators: Counter[str]) -> int:
    return operators['CONV_2D'] + operators['DEPTHWISE_CONV_2D']


FLOAT32 = TFLite()
FLOAT16 = TFLite('tflite_f16', tolerance=5e-3, weights='float16')
INT8_WEIGHTS = TFLite('tflite_w8', tolerance=math.inf, cosine=0.99, weights='int8')
INT8 = TFLite('tflite_int8', tolerance=math.inf, cosine=0.97, integer=True)


def _encoded(images: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
  """Images as an input takes them: int8 by its scale, or float32."""
  scale, zero = tensor['quantization']
  if not scale:
    return np.asarray(images, np.float32)
  limits = np.iinfo(tensor['dtype'])
  return np.clip(np.round(images / scale) + zero, limits.min, limits.max).astype(tensor['dtype'])


def _decoded(values: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
  """An output in float32."""
  scale, zero = tensor['quantization']
  return (values.astype(np.float32) - zero) * scale if scale else values
