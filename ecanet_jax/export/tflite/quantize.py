"""Rounds the weights of a TFLite file, or all of its values."""

import contextlib
import io
import os
import warnings
from collections.abc import Callable, Iterator

import numpy as np

from ecanet_jax.export.packages import require
from ecanet_jax.export.tflite.converter import INPUT, SIGNATURE


def float16_weights(data: bytes) -> bytes:
  """Stores the kernels in float16; the values are computed in float32."""
  quantizer, tools = _quantizer(data), _module('qtyping')
  quantizer.update_quantization_recipe(
    '.*', tools.TFLOperationName.ALL_SUPPORTED,
    tools.OpQuantizationConfig(
      weight_tensor_config=tools.TensorQuantizationConfig(16, dtype=tools.TensorDataType.FLOAT),
      compute_precision=tools.ComputePrecision.FLOAT, explicit_dequantize=True,
    ),
    _module('algorithm_manager').AlgorithmName.FLOAT_CASTING,
  )
  return _result(quantizer)


def int8_weights(data: bytes) -> bytes:
  """Stores the kernels in int8, with a scale for each channel; computed in float32."""
  quantizer = _quantizer(data)
  quantizer.load_quantization_recipe(_module('recipe').weight_only_wi8_afp32())
  return _result(quantizer)


def int8(data: bytes, calibration: np.ndarray, batch: int) -> bytes:
  """Computes in int8; the file takes and gives int8 with scales of its own.

  Args:
    data: the file's content in float32.
    calibration: images `[N, H, W, C]`, which set the range of each layer's values.
    batch: images per call of the file.
  """
  quantizer = _quantizer(data)
  quantizer.load_quantization_recipe(_module('recipe').static_wi8_ai8())
  calls = -(-len(calibration) // batch)
  order = np.arange(calls * batch) % len(calibration)
  samples = [{INPUT: calibration[part]} for part in order.reshape(calls, batch)]
  with _quiet():
    ranges = quantizer.calibrate({SIGNATURE: samples}, num_threads=os.cpu_count() or 1)
  return _result(quantizer, ranges)


WEIGHTS: dict[str, Callable[[bytes], bytes]] = {
  'float32': lambda data: data, 'float16': float16_weights, 'int8': int8_weights,
}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Inside, the quantizer shows no progress bars and no warnings about its own memory."""
  with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
    warnings.simplefilter('ignore')
    yield


def _module(name: str):
  return require(f'litert_quantizer.{name}', 'litert-quantizer', 'tflite')


def _quantizer(data: bytes):
  return _module('quantizer').Quantizer(bytearray(data))


def _result(quantizer, ranges=None) -> bytes:
  with _quiet():
    done = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
  return bytes(done.quantized_model)
