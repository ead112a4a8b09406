"""Files of detectors' weights under the names of torchvision and mmdetection."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from ecanet_jax.detection.from_config import create_from_config
from ecanet_jax.detection.networks.detector import Detector
from ecanet_jax.detection.registry import detector_record
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, lookup
from ecanet_jax.weights import dialects
from ecanet_jax.weights.convert import from_torch, own_arrays, to_torch
from ecanet_jax.weights.detectors.classes import classes_in
from ecanet_jax.weights.files import formats
from ecanet_jax.weights.finite import check_finite, not_finite
from ecanet_jax.weights.mismatch_hint import likely_dialect

# Whose rules go with a dialect. Those of mmdetection 2.x are no preset; 1.x is nearest.
PRESETS = {
  'torchvision': 'torchvision', 'torchvision_v1': 'torchvision', 'mmdet1': 'mmdet1',
  'mmdet2': 'mmdet1',
}


def read_detector(path: str | os.PathLike, model: Detector, dialect: str) -> dict[str, Any]:
  """Reads a detector's weights of other code.

  Args:
    path: a .safetensors, .npz or PyTorch file.
    model: from `create_detector`, with the classes and the preset of the weights. torchvision's
      released weights with FrozenBatchNorm ('COCO_V1') need `backbone={'bn_eps': 0.0}`.
    dialect: 'torchvision', 'torchvision_v1' (older names, which torchvision renames on loading),
      'mmdet1' or 'mmdet2'.

  Returns:
    {'params', 'batch_stats'} as NumPy arrays.

  Raises:
    UserError: there is no such file, it is damaged, or it is of another network.
  """
  state = formats.read_state_dict(str(path))
  return _variables(path, model, state, dialect)


def import_detector(
  path: str | os.PathLike, name: str, dialect: str = '', *, kind: str = 'ema',
  bn_eps: float | None = None,
) -> tuple[dict[str, Any], dict[str, Any], str]:
  """Reads a detector's weights of other code, and finds its classes and its rules.

  Args:
    path: a .safetensors, .npz or PyTorch file.
    name: of the detector, such as 'mask_rcnn_r50_fpn'.
    dialect: as in `read_detector`; '' = the one that the names in the file fit best.
    kind: which weights of a training checkpoint: 'ema' or 'raw'.
    bn_eps: of the backbone's BatchNorm; None = 1e-5. torchvision's COCO_V1 needs 0.

  Returns:
    The `model` section of a recipe, {'params', 'batch_stats'} as NumPy arrays, and the dialect.

  Raises:
    UserError: as `read_detector`, or the file has no names of a detector.
  """
  record = detector_record(name)
  section: dict[str, Any] = {'name': record.name, 'num_classes': 1}
  section |= {} if bn_eps is None else {'bn_eps': bn_eps}
  model = create_from_config(section)
  if dialect:
    dialects.dialect_of(model, dialect)
  state = formats.read_state_dict(str(path), kind)
  found = likely_dialect(model, _shapes(state), dialect)
  if not found:
    raise UserError(
      f'{path} has not the names of a detector ({", ".join(dialects.family(model).dialects)}); '
      'weights of a classification network become a backbone in a training: --config.init.weights='
      f'{path}.'
    )
  dialect = dialect or found
  classes = classes_in(model, _shapes(own_arrays(model, state, dialect, kind)), dialect)
  section |= {
    'num_classes': classes or 1, 'detector': {'preset': lookup(PRESETS, dialect, 'dialect')}}
  return section, _variables(path, create_from_config(section), state, dialect), dialect


def write_detector(
  path: str | os.PathLike, model: Detector, variables: Mapping[str, Any], dialect: str = '',
) -> str:
  """Writes a detector's weights as a .safetensors, .npz or .pth file under the names of other code.

  The bytes are parsed first, and every array must be the same to the bit.

  Args:
    path: the file to write.
    model: from `create_detector`.
    variables: {'params', 'batch_stats'}.
    dialect: as in `read_detector`; '' = that of the preset's code.

  Returns:
    What was compared, in words.

  Raises:
    UserError: arrays or rules do not fit, values are not finite, or the file cannot be written.
  """
  if not formats.is_file_name(path):
    raise UserError(
      f'{path}: a detector becomes one file; give a TARGET that ends in {formats.WRITTEN}.')
  dialect = dialect or model.preset.name
  state = to_torch(model, variables, dialect)
  if text := not_finite(state):
    raise UserError(
      f'{text}; nothing is written. Take an earlier checkpoint of the training.')
  write, parse = formats.WRITERS[os.path.splitext(path)[1]]
  read = parse(write(state))
  if different := _different(read, state) + _different(
    _flat(from_torch(model, read, dialect)), _flat(variables)
  ):
    raise UserError(
      f'the conversion changes {len(different)} arrays, first {different[0]}; nothing is written.')
  paths.make_directory(paths.absolute(paths.to_path(path)).parent)
  formats.write_state_dict(str(path), state)
  values = sum(np.size(array) for array in state.values())
  return (f'{len(state)} arrays with {values:,} values under the names of {dialect}, read back and '
          'equal to the bit')


def _variables(
  path: str | os.PathLike, model: Detector, state: Mapping[str, np.ndarray], dialect: str
) -> dict[str, Any]:
  variables = from_torch(model, state, dialect)
  check_finite(path, _flat(variables))
  return variables


def _flat(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
  return traverse_util.flatten_dict(dict(variables), sep='/')


def _shapes(state: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
  return {key: np.shape(array) for key, array in state.items()}


def _different(
  found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> list[str]:
  """Names of arrays that one of two has alone, or that differ in type, shape or a bit."""
  same = lambda a, b: (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
  return sorted(found.keys() ^ expected.keys()) + [
    key for key in expected
    if key in found and not same(np.asarray(found[key]), np.asarray(expected[key]))
  ]
