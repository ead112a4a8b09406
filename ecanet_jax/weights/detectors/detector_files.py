"""Files of detectors' weights under the names of torchvision and mmdetection."""

import os
from collections.abc import Mapping
from typing import Any

from flax import traverse_util

from ecanet_jax.detection.networks.detector import Detector
from ecanet_jax.weights.convert import from_torch, to_torch
from ecanet_jax.weights.files import formats
from ecanet_jax.weights.finite import check_finite


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
  variables = from_torch(model, state, dialect)
  check_finite(path, traverse_util.flatten_dict(variables, sep='/'))
  return variables


def write_detector(
  path: str | os.PathLike, model: Detector, variables: Mapping[str, Any],
  dialect: str = 'torchvision',
) -> None:
  """Writes a detector's weights as a .safetensors or .npz file under the names of other code.

  Raises:
    UserError: arrays or rules do not fit, or the file cannot be written.
  """
  formats.write_state_dict(str(path), to_torch(model, variables, dialect))
