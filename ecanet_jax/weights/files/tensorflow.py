"""Reads weights of TensorFlow as mappings of names to arrays, for the dialects 'tf1' and 'keras'.

TF1 checkpoints need TensorFlow; Keras files need h5py, which TensorFlow depends on. Both are
imported on demand. No code from a file is ever run: a .keras file can describe layers as Python
code, but only its arrays are opened.
"""

import io
import os
import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ecanet_jax.checkpoints.zip_limits import check_archive
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, lookup, one_line
from ecanet_jax.runtime.log import log
from ecanet_jax.weights.files.foreign import foreign

AVERAGED = '/ExponentialMovingAverage'
TF2_ENDING = '/.ATTRIBUTES/VARIABLE_VALUE'

# Variables of the optimizer and the step: by their whole name, and by the last part of their name.
TRAINING = ('global_step', 'beta1_power', 'beta2_power')
SLOTS = ('RMSProp', 'RMSProp_1', 'Momentum', 'Adam', 'Adam_1', 'biased', 'local_step')

KERAS_ENTRY = 'model.weights.h5'  # of a .keras file
KERAS_SUFFIXES = ('.keras', '.h5', '.hdf5')

# Kind of layer -> its arrays, in the order in which Keras 3 numbers them.
KERAS_ARRAYS = {
  'conv2d': ('kernel', 'bias'),
  'depthwise_conv2d': ('depthwise_kernel',),
  'dense': ('kernel', 'bias'),
  'batch_normalization': ('gamma', 'beta', 'moving_mean', 'moving_variance'),
  'normalization': ('mean', 'variance', 'count'),
}
IMAGES = ('mean', 'variance', 'count')  # of the `Normalization` layer, which prepares the images

# Reads all of an HDF5 file of the standard input.
PROBE = """
import io, sys, h5py
def read(name, item):
  list(item.attrs.values())
  if isinstance(item, h5py.Dataset):
    item[()]
with h5py.File(io.BytesIO(sys.stdin.buffer.read()), 'r') as file:
  read('', file)
  file.visititems(read)
"""
PROBE_SECONDS, PROBE_RATE = 30, 10_000_000  # for the start, and bytes a second


def read_tf1(prefix: str, kind: str = 'ema') -> dict[str, np.ndarray]:
  """Reads a TensorFlow 1 checkpoint, such as EfficientNet's `efficientnet-b0/model.ckpt`.

  Variables of the optimizer and the step are dropped, and the scope that all names share is
  removed. The log says both.

  Args:
    prefix: the path of the checkpoint's files without `.index` and `.data-00000-of-00001`.
    kind: 'ema' = the averaged variables, which tensorflow/tpu evaluates; a variable without an
      average is read itself, and the log says so. 'raw' = never the averages.

  Returns:
    Arrays by name, in the dialect 'tf1'.

  Raises:
    UserError: there is no checkpoint, it cannot be read, or TensorFlow cannot be imported.
  """
  average = lookup({'ema': True, 'raw': False}, kind, 'kind')
  prefix = prefix.removesuffix('.index')
  if not _is_file(f'{prefix}.index'):
    raise UserError(
      f'{prefix}: no TF1 checkpoint; give the prefix of its files, such as DIR/model.ckpt for '
      'DIR/model.ckpt.index.'
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
  except (
    tf.errors.OpError, RuntimeError, ValueError, IndexError, KeyError, TypeError, AttributeError,
    MemoryError,
  ) as error:
    raise UserError(
      f'{prefix} is not a complete TF1 checkpoint ({one_line(error)}); copy or download it again.'
    ) from error
  if any(name.endswith(TF2_ENDING) for name in found):
    raise UserError(
      f'{prefix} is a checkpoint of objects (TensorFlow 2), not of named variables; load it with '
      'the code that wrote it, and save the weights as .h5.'
    )
  return _without_scope(prefix, _select(prefix, _drop_optimizer(prefix, found), average))


def _drop_optimizer(prefix: str, found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  kept = {
    name: array for name, array in found.items()
    if name not in TRAINING and name.rpartition('/')[2] not in (*TRAINING, *SLOTS)
  }
  if len(kept) < len(found):
    log.warning(
      '%s: dropped %d of %d variables, those of the optimizer and the step.',
      prefix, len(found) - len(kept), len(found),
    )
  return kept


def _select(
  prefix: str, found: Mapping[str, np.ndarray], average: bool
) -> dict[str, np.ndarray]:
  """Returns each variable under its own name, or its average if asked for and there."""
  names = list(dict.fromkeys(name.removesuffix(AVERAGED) for name in found))
  averaged = {name for name in names if average and name + AVERAGED in found}
  raw = [name for name in names if name not in averaged]
  missing = [name for name in raw if name not in found]
  if missing:
    raise UserError(
      f'{prefix}: {len(missing)} variables are there only as averages ({missing[0]}); read the '
      "averages: kind='ema'."
    )
  if average and raw:
    log.warning(
      '%s: %d of %d variables have no average; their raw values are read.',
      prefix, len(raw), len(names),
    )
  return {name: found[name + AVERAGED if name in averaged else name] for name in names}


def _without_scope(prefix: str, found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  scopes = {name.partition('/')[0] for name in found}
  if len(scopes) != 1 or not all('/' in name for name in found):
    return dict(found)
  scope = f'{scopes.pop()}/'
  log.warning('%s: removed the scope %r from all %d names.', prefix, scope, len(found))
  return {name.removeprefix(scope): array for name, array in found.items()}


def read_keras(source: Any) -> dict[str, np.ndarray]:
  """Reads a Keras model's weights.

  Keras's EfficientNet begins with a `Normalization` layer. Our network has none: the arrays of this
  layer are dropped, the log says so, and `--preprocessing=keras` does its work. Keras's ImageNet
  weights were trained on (x / 255 - mean) / std with ImageNet's usual mean and std. Keras divides
  in two steps: the layer by the square root of its `variance`, which holds std, and, for these
  weights only, a `Rescaling` layer by the square root of std (keras-team/keras,
  applications/efficientnet.py; tensorflow/tensorflow, issue 49930). The kernels hold no such factor
  and are read unchanged.

  Args:
    source: a .keras, .h5 or .weights.h5 file, or a Keras model.

  Returns:
    Arrays by name in the dialect 'keras', such as 'stem_conv/kernel'.

  Raises:
    UserError: there is no such file; its format is unknown; it is damaged or lacks the names of its
      layers; h5py cannot be imported.
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
    log.warning(
      '%s: dropped %d arrays of the normalization of the images, which is part of the '
      'preprocessing here.',
      where, len(found) - len(kept),
    )
  return kept


# Dialect -> the reader of its files, called with (path, kind) as `formats.read_state_dict` is.
READERS: dict[str, Callable[[str, str], dict[str, np.ndarray]]] = {
  'tf1': read_tf1,
  'keras': lambda path, kind: read_keras(path),  # a Keras file has one set of weights
}


def _is_file(path: str) -> bool:
  with paths.answers(path):
    return paths.to_path(path).is_file()


def _read_file(path: str) -> dict[str, np.ndarray]:
  if not path.endswith(KERAS_SUFFIXES):
    raise UserError(f'{path} must end in one of {", ".join(KERAS_SUFFIXES)}.')
  if not _is_file(path):
    raise UserError(f'{path}: no such file.')
  try:
    import h5py
  except ImportError as error:
    raise UserError(f'{path} needs h5py to be read: pip install h5py.') from error
  try:
    file = paths.to_read(path)
    if path.endswith('.keras'):
      check_archive(file)
      with zipfile.ZipFile(file) as archive:  # which has checksums
        if KERAS_ENTRY not in archive.namelist():
          raise UserError(f'{path} is not a complete Keras file of weights, without {KERAS_ENTRY}.')
        file = io.BytesIO(archive.read(KERAS_ENTRY))
    else:
      _probe(path, paths.to_path(path).read_bytes())
    with h5py.File(file, 'r') as content:
      return dict(_arrays(path, content))
  except (UserError, paths.StoreError):
    raise
  except (
    OSError, KeyError, RuntimeError, TypeError, ValueError, AttributeError, IndexError, MemoryError,
    zipfile.BadZipFile, zlib.error, NotImplementedError,
  ) as error:
    raise UserError(
      foreign(path, paths.to_read(path)) or
      f'{path} is not a complete Keras file of weights ({one_line(error)}); copy it again.'
    ) from error


def _probe(path: str, content: bytes) -> None:
  """Reads an HDF5 file in another process first: a damaged one can stop or end a process.

  Raises:
    ValueError: it cannot be read to its end, or not in time.
  """
  seconds = PROBE_SECONDS + len(content) / PROBE_RATE
  try:
    done = subprocess.run(
      [sys.executable, '-P', '-c', PROBE], input=content, capture_output=True, timeout=seconds
    )
  except subprocess.TimeoutExpired as error:
    raise ValueError(f'HDF5 has not read it in {seconds:.0f} s') from error
  if done.returncode:
    said = done.stderr.decode(errors='replace').strip().splitlines()
    raise ValueError(said[-1] if said else f'HDF5 ended with status {done.returncode}')


def _arrays(path: str, content: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
  content = content.get('model_weights', content)  # a whole model of Keras 2
  if 'layer_names' in content.attrs:  # Keras 2, and .h5 of Keras 3
    for layer in content.attrs['layer_names']:
      group = content[_text(layer)]
      for name in group.attrs['weight_names']:
        yield _keras_name(_text(name)), np.asarray(group[_text(name)])
    return
  if 'layers' not in content:
    raise UserError(f'{path} is an HDF5 file without layers of Keras; it holds other data.')
  for kind, group in content['layers'].items():  # Keras 3
    arrays = group.get('vars', {})
    if not len(arrays):
      continue
    kind = re.sub(r'_\d+$', '', kind)
    if 'name' not in arrays.attrs or kind not in KERAS_ARRAYS:
      raise UserError(
        f'{path}: the arrays of the layer {group.name} have no known names in this version of '
        'Keras; load the file in Keras and pass the model to '
        'ecanet_jax.weights.files.tensorflow.read_keras.'
      )
    layer = _text(arrays.attrs['name'])
    for name, number in zip(KERAS_ARRAYS[kind], sorted(arrays, key=int)):
      yield f'{layer}/{name}', np.asarray(arrays[number])


def _keras_name(path: str) -> str:
  """Returns 'LAYER/ARRAY'. Keras 3 calls a depthwise kernel 'kernel'; the layer's name tells it."""
  layer, array = path.partition(':')[0].split('/')[-2:]
  if layer.endswith('dwconv') and array == 'kernel':
    array = 'depthwise_kernel'
  return f'{layer}/{array}'


def _text(name: str | bytes) -> str:
  return name.decode() if isinstance(name, bytes) else name
