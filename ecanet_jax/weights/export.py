"""Exports a trained network to PyTorch, after comparing the logits."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ecanet_jax.models import network
from ecanet_jax.models.registry import create_from_config
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights.convert import to_torch
from ecanet_jax.weights.files import formats
from ecanet_jax.weights.hub import hub_folder
from ecanet_jax.weights.timm_reference import find_record
from ecanet_jax.weights.verify import TOLERANCE, Verification, verify


def export(
  config: Mapping[str, Any],
  variables: Mapping[str, Any],
  directory: str | os.PathLike,
  *,
  dialect: str = 'timm',
  tolerance: float = TOLERANCE,
  label_names: Sequence[str] | None = None,
  multi_label: bool = False,
  data_name: str = '',
  evaluation: str = '',
) -> Verification:
  """Writes weights as a timm folder, or as a file if the name ends in .safetensors, .npz or .pth.

  The weights are serialized and parsed again, and `verify` compares the logits. Only then are the
  same bytes written.

  Args:
    config: a recipe as nested dicts, with the sections `model` and `data`.
    variables: {'params', 'batch_stats'}.
    directory: the folder or file to write.
    dialect: the code whose names to use; a folder always has timm's.
    tolerance: the largest allowed relative difference of the logits.
    label_names: the classes' names, in order.
    multi_label: an image has any number of labels; for a folder's config.json, like the names.
    data_name: the training data, for the folder's README.md; '' = not known.
    evaluation: the accuracy of these weights, for the same; '' = not measured.

  Returns:
    The difference of the logits.

  Raises:
    UserError: the target cannot be written or holds other files, the network does not have the
      dialect, or the difference is above the tolerance. Nothing is written then.
  """
  model = create_from_config(config['model'])
  record = find_record(model) or _unregistered(config['model']['name'])
  single = formats.is_file_name(directory)
  if not single:
    hub_folder.check_target(directory)
    if dialect != 'timm':
      raise UserError(
        f'--dialect={dialect}: a folder has the names of timm; give a TARGET that ends in '
        f'{formats.WRITTEN}.'
      )
    dialect = record.timm_dialect
  data = config['data']
  write, read = formats.WRITERS[os.path.splitext(directory)[1] if single else '.safetensors']
  state_dict = read(write(to_torch(model, variables, dialect)))
  result = verify(
    model, variables, state_dict, dialect, image_size=data['image_size'], tolerance=tolerance
  )
  if single:
    paths.make_directory(paths.absolute(paths.to_path(directory)).parent)
    formats.write_state_dict(str(directory), state_dict)
    return result
  hub_folder.write_folder(
    directory, record, model, state_dict, data, label_names=label_names, multi_label=multi_label,
    model_config=config['model'], data_name=data_name, evaluation=evaluation,
  )
  return result


def _unregistered(name: str):
  """Returns a network's record without its name in timm: timm lacks the network with overrides."""
  return dataclasses.replace(network(name), timm='', timm_arguments={})
