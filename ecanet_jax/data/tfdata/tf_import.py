"""Imports of TensorFlow and TFDS: only if images have to be decoded, and without GPU or TPU."""

import contextlib
import functools
import os
from collections.abc import Callable

from ecanet_jax.runtime.errors import UserError


@functools.cache
def tensorflow():
  """Returns the tensorflow module; GPUs and TPUs are hidden from it, because JAX uses them.

  Raises:
    UserError: TensorFlow is not installed.
  """
  # Less logging; oneDNN is not used for decoding and logs a line at every start.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
  try:
    import tensorflow as tf
  except ImportError as error:
    raise UserError(
      "decoding images needs TensorFlow: pip install 'ecanet_jax[train]' "
      "(data.source='memory' works without it)"
    ) from error
  for kind in ('GPU', 'TPU'):
    # RuntimeError: the program has used TensorFlow already; it is too late to hide devices.
    with contextlib.suppress(RuntimeError):
      tf.config.set_visible_devices([], kind)
  tf.get_logger().setLevel('ERROR')
  return tf


@functools.cache
def tensorflow_datasets():
  """Returns the tensorflow_datasets module.

  Raises:
    UserError: it is not installed.
  """
  tensorflow()
  try:
    import tensorflow_datasets as tfds
  except ImportError as error:
    raise UserError(
      "data.source='tfds' needs TensorFlow Datasets: "
      f"pip install 'ecanet_jax[train]' ({error})"
    ) from error
  return tfds


_traced: dict = {}


def traced(key: tuple, function: Callable, signature: list) -> Callable:
  """Traces a function of tensors once for each key, because every evaluation builds a pipeline."""
  if key not in _traced:
    graph = tensorflow().function(function, input_signature=signature, autograph=False)
    _traced[key] = graph.get_concrete_function()
  return _traced[key]
