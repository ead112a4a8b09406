"""Weights from wherever they are: a training, converted weights, a timm folder, or a bare file."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np

from ecanet_jax.data import presets
from ecanet_jax.errors import UserError
from ecanet_jax.models import create_model, network
from ecanet_jax.models.registry import create_from_config
from ecanet_jax.weights import files, folder
from ecanet_jax.weights.convert import count_classes, from_torch, strip_prefixes
from ecanet_jax.weights.tensorflow import READERS


@dataclasses.dataclass(frozen=True)
class Source:
  """Weights with what is known of them.

  Attributes:
    model: a recipe's `model` section.
    data: the keys `presets.KEYS` of a recipe's `data` section.
    preprocessing: where `data` are from, in words.
    variables: {'params', 'batch_stats'}.
    state_dict: in the file's own names; {} for a checkpoint.
    dialect: of the state dict.
  """

  model: dict[str, Any]
  data: dict[str, Any]
  preprocessing: str
  variables: dict[str, Any]
  state_dict: dict[str, np.ndarray]
  dialect: str

  def create(self) -> nn.Module:
    """The network."""
    return create_from_config(self.model)


def read_source(
  path: str | os.PathLike,
  *,
  model: Mapping[str, Any] | None = None,
  dialect: str = 'timm',
  weights: str = 'ema',
  step: int | str = 'last',
  preset: str = '',
) -> Source:
  """Reads weights of any form.

  Args:
    path: workdir of a training, directory of converted weights, timm folder (ours or timm's own),
      or a .safetensors, .npz or PyTorch file; TensorFlow's as `tensorflow.READERS` has them.
    model: a recipe's `model` section, needed for a file; its `name` alone can stand for a folder
      whose architecture is not known. Without `num_classes` the file says how many.
    dialect: whose names a file has.
    weights: 'ema' or 'raw': averaged where there are any, or as trained.
    step: of a training: 'last', 'best' or a number.
    preset: a name of `presets.PRESETS` for weights without preprocessing of their own; '' = the
      network's.

  Raises:
    UserError: nothing there to read, a damaged file, or one of another network.
  """
  from ecanet_jax.training.checkpoint import is_checkpoint

  path = pathlib.Path(path)
  if preset:
    presets.preset(preset)  # a wrong name is known before anything is read
  if not path.exists() and dialect not in READERS:  # a TF1 checkpoint is the prefix of its files
    raise UserError(f'{path}: no such file or directory.')
  if path.is_dir() and dialect != 'timm':
    raise UserError(f'--dialect={dialect}: a directory says whose names it has; leave it out.')
  if is_checkpoint(path):
    return _checkpoint(path, weights, step, preset)
  if path.is_dir():
    return _folder(path, model, preset)
  return _file(path, model, dialect, weights, preset)


def _checkpoint(path: pathlib.Path, weights: str, step: int | str, preset: str) -> Source:
  from ecanet_jax.training.checkpoint import load_weights

  _refuse(preset, path)
  config, variables = load_weights(path, ema=weights == 'ema', step=step)
  data = {key: config['data'][key] for key in presets.KEYS if key in config['data']}
  return Source(config['model'], data, 'as the checkpoint says', variables, {}, 'timm')


def _folder(path: pathlib.Path, model: Mapping[str, Any] | None, preset: str) -> Source:
  if not (path / folder.CONFIG).exists():
    raise UserError(
      f'{path} has neither checkpoints of a training nor the {folder.CONFIG} of a timm folder.'
    )
  found = folder.read_folder(path, (model or {}).get('name') or '')
  record = network(found.model['name'])
  if set(presets.KEYS) <= set(found.data):
    _refuse(preset, path)
    data, said = found.data, f'as {folder.CONFIG} says'
  else:
    data, said = _preset(preset, record.name, record.timm_dialect, record.image_size)
    data |= found.data
    said = f'{said}, but for {", ".join(found.data)} of {folder.CONFIG}' if found.data else said
  state_dict = strip_prefixes(found.state_dict)
  variables = from_torch(create_from_config(found.model), state_dict, record.timm_dialect)
  return Source(found.model, data, said, variables, state_dict, record.timm_dialect)


def _file(path: pathlib.Path, model, dialect: str, weights: str, preset: str) -> Source:
  if not model:
    raise UserError(f'{path} does not say which network it is; give --model=NAME.')
  record = network(model['name'])
  read = READERS.get(dialect, files.read_state_dict)
  state_dict = strip_prefixes(read(str(path), weights))
  section = {key: value for key, value in model.items() if value is not None}
  if 'num_classes' not in section:
    registered = create_model(record.name)
    section['num_classes'] = (
      count_classes(registered, state_dict, dialect) or registered.num_classes
    )
  variables = from_torch(create_from_config(section), state_dict, dialect)
  data, said = _preset(preset, record.name, dialect, record.image_size)
  return Source(section, data, said, variables, state_dict, dialect)


def _preset(name: str, model: str, dialect: str, image_size: int) -> tuple[dict[str, Any], str]:
  chosen = name or presets.default_preset(model, dialect)
  said = f'the preset {chosen}' + ('' if name else f', the default for {model}')
  return presets.preset(chosen).data(image_size), said


def _refuse(preset: str, path: pathlib.Path) -> None:
  if preset:
    raise UserError(f'--preset={preset}: {path} has its own preprocessing; leave --preset out.')


def load_pretrained(
  directory: str | os.PathLike, *, weights: str = 'ema'
) -> tuple[nn.Module, dict[str, Any]]:
  """A network with its weights.

  Args:
    directory: a timm folder, whoever wrote it; the workdir of a training; or converted weights.
    weights: 'ema' or 'raw': of a training, averaged where there are any, or as trained.

  Returns:
    The flax module, and {'params', 'batch_stats'} as numpy arrays: `model.apply(variables, images,
    train=False)` maps `[B, H, W, 3]` to logits. How the images must be prepared is in the folder's
    config.json.

  Raises:
    UserError: nothing there to read, a damaged file, or a network that is not one of ours.
  """
  if not os.path.isdir(directory):
    raise UserError(f'{directory} is not a directory; ecanet_jax.weights.read_source reads files.')
  source = read_source(directory, weights=weights)
  return source.create(), source.variables
