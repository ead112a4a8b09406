"""TensorFlow, imported only when images have to be decoded, and kept off every accelerator."""

import contextlib
import functools
import os

from ecanet_jax.imports import as_if_missing
from ecanet_jax.runtime.errors import UserError


@functools.cache
def tensorflow():
  """Returns the tensorflow module; it will not see GPUs or TPUs, which belong to JAX.

  Raises:
    UserError: TensorFlow is not installed.
  """
  # Its chatter is not for our users; oneDNN has no part in decoding, and says so at every start.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
  try:
    with as_if_missing('keras'):  # with scikit-learn, half of the time; `tf.keras` still imports it
      import tensorflow as tf
  except ImportError as error:
    raise UserError(
      'decoding images needs TensorFlow: pip install tensorflow-cpu '
      "(data.source='memory' works without it)"
    ) from error
  for kind in ('GPU', 'TPU'):
    # RuntimeError: the caller has used TensorFlow before; too late to hide anything.
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
      f'pip install tensorflow-datasets importlib_resources ({error})'
    ) from error
  return tfds
