"""Weights of TensorFlow as plain mappings of names to arrays, for the dialects 'tf1' and 'keras'.

TF1 checkpoints are read with TensorFlow, Keras files with h5py, which TensorFlow brings along; both
are imported when they are needed. Nothing here runs code from a file: of a .keras file, which can
describe layers as Python code, only the arrays are opened.
"""

import io
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from absl import logging

from ecanet_jax.checkpoints.zip_limits import check_archive
from ecanet_jax.runtime.errors import UserError, lookup

AVERAGED = '/ExponentialMovingAverage'
TF2_ENDING = '/.ATTRIBUTES/VARIABLE_VALUE'

# What a training keeps beside the weights: whole names, and ends of names after a variable's.
TRAINING = ('global_step', 'beta1_power', 'beta2_power')
SLOTS = ('RMSProp', 'RMSProp_1', 'Momentum', 'Adam', 'Adam_1', 'biased', 'local_step')

KERAS_SUFFIXES = ('.keras', '.h5', '.hdf5')

# Arrays of a layer in the order in which Keras 3 numbers them, by the kind of layer.
KERAS_ARRAYS = {
  'conv2d': ('kernel', 'bias'),
  'depthwise_conv2d': ('depthwise_kernel',),
  'dense': ('kernel', 'bias'),
  'batch_normalization': ('gamma', 'beta', 'moving_mean', 'moving_variance'),
  'normalization': ('mean', 'variance', 'count'),
}
IMAGES = ('mean', 'variance', 'count')  # of `Normalization`, which works on the images


def read_tf1(prefix: str, weights: str = 'ema') -> dict[str, np.ndarray]:
  """Reads a TensorFlow 1 checkpoint, such as EfficientNet's `efficientnet-b0/model.ckpt`.

  Variables of the optimizer and the step are dropped, and the scope before all names is removed,
  with a line in the log for both.

  Args:
    prefix: the checkpoint's files without `.index` and `.data-00000-of-00001`.
    weights: 'ema': the averaged copies, which tensorflow/tpu evaluates; variables that have none
      are taken as they are, with a line in the log. 'raw': never the copies.

  Returns:
    Names, for the dialect 'tf1', to arrays.

  Raises:
    UserError: no checkpoint, an unreadable one, or TensorFlow cannot be imported.
  """
  average = lookup({'ema': True, 'raw': False}, weights, 'weights')
  prefix = prefix.removesuffix('.index')
  if not os.path.isfile(f'{prefix}.index'):
    raise UserError(
      f'{prefix}: no TF1 checkpoint; give the prefix of its files, such as DIR/model.ckpt beside '
      'which DIR/model.ckpt.index is.'
    )
  try:
    import tensorflow as tf
  except ImportError as error:
    raise UserError(
      f'{prefix} needs TensorFlow to be read: pip install tensorflow-cpu.'
    ) from error
  try:
    reader = tf.train.load_checkpoint(prefix)
    found = {name: reader.get_tensor(name) for name in sorted(reader.get_variable_to_shape_map())}
  except (tf.errors.OpError, RuntimeError, ValueError) as error:
    raise UserError(
      f'{prefix} is not a complete TF1 checkpoint ({_line(error)}); copy or download it again.'
    ) from error
  if any(name.endswith(TF2_ENDING) for name in found):
    raise UserError(
      f'{prefix} is a checkpoint of objects (TensorFlow 2), not of named variables; load it with '
      'the code that wrote it and save the weights as .h5.'
    )
  return _without_scope(prefix, _chosen(prefix, _weights_alone(prefix, found), average))


def _weights_alone(prefix: str, found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  kept = {
    name: array for name, array in found.items()
    if name not in TRAINING and name.rpartition('/')[2] not in (*TRAINING, *SLOTS)
  }
  if len(kept) < len(found):
    logging.warning(
      '%s: dropped %d of %d variables, those of the optimizer and the step.',
      prefix, len(found) - len(kept), len(found),
    )
  return kept


def _chosen(
  prefix: str, found: Mapping[str, np.ndarray], average: bool
) -> dict[str, np.ndarray]:
  """The variables by their own names, each as it is or, if asked for, its averaged copy."""
  names = list(dict.fromkeys(name.removesuffix(AVERAGED) for name in found))
  copies = {name for name in names if average and name + AVERAGED in found}
  bare = [name for name in names if name not in copies]
  absent = [name for name in bare if name not in found]
  if absent:
    raise UserError(
      f"{prefix}: {len(absent)} variables have an averaged copy alone ({absent[0]}); read it with "
      "weights='ema'."
    )
  if average and bare:
    logging.warning(
      '%s: %d of %d variables have no averaged copy and are taken as they are.',
      prefix, len(bare), len(names),
    )
  return {name: found[name + AVERAGED if name in copies else name] for name in names}


def _without_scope(prefix: str, found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  scopes = {name.partition('/')[0] for name in found}
  if len(scopes) != 1 or not all('/' in name for name in found):
    return dict(found)
  scope = f'{scopes.pop()}/'
  logging.warning('%s: removed the scope %r from all %d names.', prefix, scope, len(found))
  return {name.removeprefix(scope): array for name, array in found.items()}


def read_keras(source: Any) -> dict[str, np.ndarray]:
  """Reads a Keras model's weights.

  The `Normalization` of the images at the beginning of Keras's EfficientNet is no part of our
  network, and its arrays are dropped with a line in the log: choose the preprocessing instead
  (`config.data.mean` and `std`). The ImageNet weights of Keras were trained on
  (x / 255 - mean) / std with ImageNet's usual mean and std, which are the defaults. Keras comes to
  that in two steps: the layer divides by the root of what its file calls `variance`, and for these
  weights alone a `Rescaling` divides by the root of std once more (keras-team/keras,
  applications/efficientnet.py; tensorflow/tensorflow, issue 49930). None of it is in the kernels,
  and no factor is put into them here.

  Args:
    source: a .keras, .h5 or .weights.h5 file, or a Keras model.

  Returns:
    Names, for the dialect 'keras', such as 'stem_conv/kernel', to arrays.

  Raises:
    UserError: no such file, another kind of file, an unreadable one, one without the names of its
      layers, or h5py cannot be imported.
  """
  if isinstance(source, str | os.PathLike):
    where, found = str(source), _read_file(str(source))
  else:
    where = f'the Keras model {source.name!r}'
    paths = (getattr(w, 'path', w.name) for w in source.weights)
    found = {_keras_name(path): np.asarray(a) for path, a in zip(paths, source.get_weights())}
  kept = {
    name: array for name, array in found.items()
    if not (name.startswith('normalization') and name.rpartition('/')[2] in IMAGES)
  }
  if len(kept) < len(found):
    logging.warning(
      '%s: dropped %d arrays of the normalization of the images; the preprocessing has its own.',
      where, len(found) - len(kept),
    )
  return kept


# Dialect -> how its files are read: `(path, weights)`, as `files.read_state_dict`.
READERS: dict[str, Callable[[str, str], dict[str, np.ndarray]]] = {
  'tf1': read_tf1,
  'keras': lambda path, weights: read_keras(path),  # Keras stores one set, the averaged or not
}


def _read_file(path: str) -> dict[str, np.ndarray]:
  if not path.endswith(KERAS_SUFFIXES):
    raise UserError(f'{path} must end in one of {", ".join(KERAS_SUFFIXES)}.')
  if not os.path.isfile(path):
    raise UserError(f'{path}: no such file.')
  try:
    import h5py
  except ImportError as error:
    raise UserError(f'{path} needs h5py to be read: pip install h5py.') from error
  try:
    file = path
    if path.endswith('.keras'):
      check_archive(path)
      with zipfile.ZipFile(path) as archive:
        file = io.BytesIO(archive.read('model.weights.h5'))
    with h5py.File(file, 'r') as content:
      return dict(_arrays(path, content))
  except UserError:
    raise
  except (OSError, KeyError, RuntimeError, TypeError, ValueError, zipfile.BadZipFile) as error:
    raise UserError(
      f'{path} is not a complete Keras file of weights ({_line(error)}); copy it again.'
    ) from error


def _arrays(path: str, content: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
  content = content.get('model_weights', content)  # a whole model of Keras 2
  if 'layer_names' in content.attrs:  # Keras 2, and .h5 of Keras 3
    for layer in content.attrs['layer_names']:
      group = content[_text(layer)]
      for name in group.attrs['weight_names']:
        yield _keras_name(_text(name)), np.asarray(group[_text(name)])
    return
  for kind, group in content['layers'].items():  # Keras 3
    arrays = group.get('vars', {})
    if not len(arrays):
      continue
    kind = re.sub(r'_\d+$', '', kind)
    if 'name' not in arrays.attrs or kind not in KERAS_ARRAYS:
      raise UserError(
        f'{path}: {group.name} is a layer of a kind or a version of Keras whose arrays have no '
        'names; load the file in Keras and give the model to weights.tensorflow.read_keras.'
      )
    layer = _text(arrays.attrs['name'])
    for name, number in zip(KERAS_ARRAYS[kind], sorted(arrays, key=int)):
      yield f'{layer}/{name}', np.asarray(arrays[number])


def _keras_name(path: str) -> str:
  """'LAYER/ARRAY'; a depthwise kernel is only a 'kernel' in Keras 3, by whose layer it is known."""
  layer, array = path.partition(':')[0].split('/')[-2:]
  if layer.endswith('dwconv') and array == 'kernel':
    array = 'depthwise_kernel'
  return f'{layer}/{array}'


def _text(name: str | bytes) -> str:
  return name.decode() if isinstance(name, bytes) else name


def _line(error: Exception) -> str:
  return ' '.join(str(error).split())[:120] or type(error).__name__
