"""Converts a network to TFLite in float32, by litert-converter or by TensorFlow."""

import importlib.util
import logging
import pathlib
import tempfile

import jax
from jax import export

from ecanet_jax.export.forward import Forward
from ecanet_jax.export.options import ExportOptions
from ecanet_jax.export.saved_model import SavedModel
from ecanet_jax.export.stablehlo import image_type, without_source_locations
from ecanet_jax.export.tflite.operators import count_operators, unknown_operators
from ecanet_jax.runtime.errors import UserError, one_line

SIGNATURE, INPUT, OUTPUT = 'serving_default', 'images', 'logits'


def convert(forward: Forward, batch: int) -> bytes:
  """The content of a TFLite file in float32.

  The package litert-converter does it. Where it is missing or fails, TensorFlow's converter does.

  Args:
    forward: the network.
    batch: images per call.

  Raises:
    UserError: neither can convert the network to operators of TFLite, or both are missing.
  """
  fault = 'litert-converter is not installed'
  if importlib.util.find_spec('litert_converter'):
    try:
      return _checked(_by_litert(forward, batch))
    except Exception as error:  # its interface and its errors are not documented
      fault = f'litert-converter: {one_line(error)}'
  if not importlib.util.find_spec('tensorflow'):
    raise UserError(
      f"tflite: {fault.rstrip('.')}, and TensorFlow is not installed: pip install "
      "'ecanet_jax[tflite]' (or [train])."
    )
  logging.getLogger('ecanet_jax').info('%s; TensorFlow converts the network.', fault.rstrip('.'))
  try:
    return _checked(_by_tensorflow(forward, batch))
  except Exception as error:
    raise UserError(
      f'tflite: {forward.name} cannot be converted: {one_line(error).rstrip(".")}; try '
      '--format=onnx.'
    ) from error


def _by_litert(forward: Forward, batch: int) -> bytes:
  from litert_converter import converter_api_ext as converter
  from litert_converter.mlir import ir, passmanager

  with without_source_locations():
    exported = export.export(jax.jit(forward.apply), platforms=['cpu'])(image_type(forward, batch))
  context = ir.Context()
  converter.prepare_mlir_context(context)
  with context:
    module = ir.Module.parse(exported.mlir_module())
    (main,) = (
      each for each in module.body.operations if each.attributes['sym_name'].value == 'main'
    )
    converter.set_signature(main.operation, SIGNATURE, [INPUT], [OUTPUT])
    converter.run_convert_to_tfl_passes(
      module, passmanager.PassManager(), converter.ConvertToTFLConfig()
    )
    return bytes(converter.export_flatbuffer_to_bytes(module.operation))


def _by_tensorflow(forward: Forward, batch: int) -> bytes:
  import tensorflow as tf

  with tempfile.TemporaryDirectory(prefix='ecanet_jax_tflite_') as folder:
    path = pathlib.Path(folder) / 'saved_model'
    SavedModel().write(forward, path, ExportOptions(batch, ('cpu',)))
    converter = tf.lite.TFLiteConverter.from_saved_model(str(path))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return converter.convert()


def _checked(data: bytes) -> bytes:
  """The file, if TFLite has all its operators; ValueError if not."""
  if unknown := unknown_operators(count_operators(data)):
    raise ValueError(f'TFLite has no {", ".join(unknown)}')
  return data
