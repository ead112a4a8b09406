"""Weights from wherever they are: a training, converted weights, a timm folder, or a bare file."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np
from absl import logging
from flax import traverse_util

from ecanet_jax.data import preprocessing
from ecanet_jax.models import create_model, network
from ecanet_jax.models.registry import create_from_config
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import key_difference
from ecanet_jax.weights.classifier import replace_classifier
from ecanet_jax.weights.convert import count_classes, from_torch, model_shapes, strip_prefixes
from ecanet_jax.weights.eca_kernel_size import widen_kernels
from ecanet_jax.weights.files import formats
from ecanet_jax.weights.files.tensorflow import READERS
from ecanet_jax.weights.hub import client, hub_folder


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
  widen: bool = False,
) -> Source:
  """Reads weights of any form.

  Args:
    path: workdir of a training, directory of converted weights, timm folder (ours or timm's own,
      or 'hf-hub:OWNER/NAME', see hub.py), or a .safetensors, .npz or PyTorch file; TensorFlow's as
      `tensorflow.READERS` has them.
    model: a recipe's `model` section, needed for a file; its `name` alone can stand for a folder
      whose architecture is not known. Without `num_classes` the file says how many.
    dialect: whose names a file has.
    weights: 'ema' or 'raw': averaged where there are any, or as trained.
    step: of a training: 'last', 'best' or a number.
    preset: a name of `presets.PRESETS` for weights without preprocessing of their own; '' = the
      network's.
    widen: zeros are put beside ECA kernels that are smaller than the network's (`widen_kernels`).

  Raises:
    UserError: nothing there to read, a damaged file, or one of another network.
  """
  from ecanet_jax.checkpoints.files import is_checkpoint

  path = pathlib.Path(client.fetch_folder(str(path)) if client.is_hub_name(path) else path)
  if preset:
    preprocessing.preset(preset)  # a wrong name is known before anything is read
  if not path.exists() and dialect not in READERS:  # a TF1 checkpoint is the prefix of its files
    raise UserError(f'{path}: no such file or directory.')
  if path.is_dir() and dialect != 'timm':
    raise UserError(f'--dialect={dialect}: a directory says whose names it has; leave it out.')
  if is_checkpoint(path):
    return _checkpoint(path, weights, step, preset)
  if path.is_dir():
    return _folder(path, model, preset, widen)
  return _file(path, model, dialect, weights, preset, widen)


def _checkpoint(path: pathlib.Path, weights: str, step: int | str, preset: str) -> Source:
  from ecanet_jax.checkpoints.files import load_weights

  _refuse(preset, path)
  config, variables = load_weights(path, ema=weights == 'ema', step=step)
  data = {key: config['data'][key] for key in preprocessing.KEYS if key in config['data']}
  return Source(config['model'], data, 'as the checkpoint says', variables, {}, 'timm')


def _folder(
  path: pathlib.Path, model: Mapping[str, Any] | None, preset: str, widen: bool
) -> Source:
  if not (path / hub_folder.CONFIG).exists():
    raise UserError(
      f'{path} has neither checkpoints of a training nor the {hub_folder.CONFIG} of a timm folder.'
    )
  found = hub_folder.read_folder(path, (model or {}).get('name') or '')
  record = network(found.model['name'])
  if set(preprocessing.KEYS) <= set(found.data):
    _refuse(preset, path)
    data, said = found.data, f'as {hub_folder.CONFIG} says'
  else:
    data, said = _preset(preset, record.name, record.timm_dialect, record.image_size)
    data |= found.data
    said = f'{said}, but for {", ".join(found.data)} of {hub_folder.CONFIG}' if found.data else said
  state_dict, variables = _read(found.model, found.state_dict, record.timm_dialect, widen)
  return Source(found.model, data, said, variables, state_dict, record.timm_dialect)


def _file(
  path: pathlib.Path, model, dialect: str, weights: str, preset: str, widen: bool
) -> Source:
  if not model:
    raise UserError(f'{path} does not say which network it is; give --model=NAME.')
  record = network(model['name'])
  read = READERS.get(dialect, formats.read_state_dict)
  state_dict = strip_prefixes(read(str(path), weights))
  section = {key: value for key, value in model.items() if value is not None}
  if 'num_classes' not in section:
    registered = create_model(record.name)
    section['num_classes'] = (
      count_classes(registered, state_dict, dialect) or registered.num_classes
    )
  state_dict, variables = _read(section, state_dict, dialect, widen)
  data, said = _preset(preset, record.name, dialect, record.image_size)
  return Source(section, data, said, variables, state_dict, dialect)


def _read(section: Mapping[str, Any], state_dict, dialect: str, widen: bool):
  """The state dict as it fits the network, and the network's variables."""
  model, state_dict = create_from_config(section), strip_prefixes(state_dict)
  if widen:
    state_dict = widen_kernels(state_dict, model, dialect)
  return state_dict, from_torch(model, state_dict, dialect)


def _preset(name: str, model: str, dialect: str, image_size: int) -> tuple[dict[str, Any], str]:
  chosen = name or preprocessing.default_preset(model, dialect)
  said = f'the preset {chosen}' + ('' if name else f', the default for {model}')
  return preprocessing.preset(chosen).data(image_size), said


def _refuse(preset: str, path: pathlib.Path) -> None:
  if preset:
    raise UserError(f'--preset={preset}: {path} has its own preprocessing; leave --preset out.')


def load_pretrained(
  directory: str | os.PathLike, *, weights: str = 'ema', name: str = '', **overrides: Any
) -> tuple[nn.Module, dict[str, Any]]:
  """A network with its weights.

  Args:
    directory: a timm folder, whoever wrote it, also as 'hf-hub:OWNER/NAME'; the workdir of a
      training; or converted weights.
    weights: 'ema' or 'raw': of a training, averaged where there are any, or as trained.
    name: of the network, which the directory then must hold; '' = the directory's.
    **overrides: fields of the network that leave its arrays as they are, such as drop_path. Where
      `num_classes` is not the directory's, the classifier is initialised afresh, with a line in the
      log.

  Returns:
    The flax module, and {'params', 'batch_stats'} as numpy arrays: `model.apply(variables, images,
    train=False)` maps `[B, H, W, 3]` to logits. How the images must be prepared is in the folder's
    config.json.

  Raises:
    UserError: nothing there to read, a damaged file, or a network that is not one of ours or not
      the one that was asked for.
  """
  if not os.path.isdir(directory) and not client.is_hub_name(directory):
    raise UserError(f'{directory} is not a directory; ecanet_jax.weights.read_source reads files.')
  source = read_source(directory, weights=weights, model={'name': name} if name else None)
  section, variables = source.model, source.variables
  if name and section['name'] != name:
    raise UserError(f'{directory} holds {section["name"]}, not {name}.')
  found, wanted = source.create().num_classes, overrides.pop('num_classes', None)
  if wanted and wanted != found:
    logging.warning(
      '%s: the classifier of %d classes is left out; one of %d is initialised afresh and has to be '
      'trained.', directory, found, wanted,
    )
    section, variables = replace_classifier(section, variables, wanted)
  model = create_from_config({**section, **overrides})
  key_difference.check(_shapes(model_shapes(model)), _shapes(variables), 'the weights do not fit')
  return model, variables


def _shapes(variables: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
  flat = traverse_util.flatten_dict(dict(variables), sep='/')
  return {path: leaf.shape for path, leaf in flat.items()}
