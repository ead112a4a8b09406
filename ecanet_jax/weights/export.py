"""A trained network to PyTorch: compared first, then written."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ecanet_jax.models import network
from ecanet_jax.models.registry import create_from_config
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
  data_name: str = '',
  evaluation: str = '',
) -> Verification:
  """Writes weights as a timm hub folder, or as one file if `directory` ends as one.

  A file ends in .safetensors or .npz.

  The logits are compared first, on the weights read back from the very bytes that are written;
  see `verify`.

  Args:
    config: a recipe as nested dicts, with the sections `model` and `data`.
    variables: {'params', 'batch_stats'}.
    directory: the folder or file to write.
    dialect: whose names; a folder has timm's.
    tolerance: largest allowed relative difference of the logits.
    label_names: of the classes, in order.
    data_name: what the network was trained on, for the folder's README.md; '' = not known.
    evaluation: of these weights, for the same; '' = not measured.

  Returns:
    How far the logits are apart.

  Raises:
    UserError: the target cannot be written or holds something else, a dialect that the network
      does not have, or a difference past the tolerance. Nothing is written then.
  """
  model = create_from_config(config['model'])
  record = find_record(model) or _unregistered(config['model']['name'])
  single = formats.is_file_name(directory)
  if not single:
    hub_folder.check_target(directory)
    if dialect != 'timm':
      raise UserError(
        f'dialect {dialect!r}: a folder has the names of timm; give a target that ends in '
        f'{formats.WRITTEN}.'
      )
    dialect = record.timm_dialect
  data = config['data']
  write, read = formats.FORMATS[os.path.splitext(directory)[1] if single else '.safetensors']
  state_dict = read(write(to_torch(model, variables, dialect)))
  result = verify(
    model, variables, state_dict, dialect, image_size=data['image_size'], tolerance=tolerance
  )
  if single:
    pathlib.Path(directory).absolute().parent.mkdir(parents=True, exist_ok=True)
    formats.write_state_dict(str(directory), state_dict)
    return result
  hub_folder.write_folder(
    directory, record, model, state_dict,
    num_classes=model.num_classes, label_names=label_names, model_config=config['model'],
    data_name=data_name, evaluation=evaluation,
    **{key: data[key] for key in ('mean', 'std', 'interpolation', 'crop_fraction', 'image_size')},
  )
  return result


def _unregistered(name: str):
  """The record of a network with overrides, which timm therefore does not have."""
  return dataclasses.replace(network(name), timm='', timm_arguments={})
