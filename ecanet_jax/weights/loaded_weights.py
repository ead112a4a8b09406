"""Reads weights of any form: a training, converted weights, a timm folder, or a single file."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np
from flax import traverse_util

from ecanet_jax.data.preprocessing import (
  KEYS,
  default_preprocessing,
  find_preprocessing,
  preprocessing_of,
)
from ecanet_jax.data.summary import DataSummary
from ecanet_jax.detection.from_config import create_from_config as create_network
from ecanet_jax.models import network
from ecanet_jax.models.other_names import weights_hint
from ecanet_jax.models.registry import create_from_config
from ecanet_jax.nn.parameter_shapes import IMAGE_SIZE, flat_shapes, parameter_shapes
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.key_difference import check_keys
from ecanet_jax.runtime.log import log
from ecanet_jax.weights.classifier import drop_classifier, replace_classifier
from ecanet_jax.weights.convert import from_torch, own_arrays
from ecanet_jax.weights.eca_kernel_size import widen_kernels
from ecanet_jax.weights.files import formats
from ecanet_jax.weights.files.tensorflow import READERS
from ecanet_jax.weights.files.weights_file import find_weights
from ecanet_jax.weights.finite import check_finite
from ecanet_jax.weights.hub import client, hub_folder
from ecanet_jax.weights.other_classifier import settle_classifier
from ecanet_jax.weights.stem import adapt_stem


@dataclasses.dataclass(frozen=True)
class LoadedWeights:
  """Weights, their network and their preprocessing.

  Attributes:
    model: a recipe's `model` section.
    data: the preprocessing, as `data.preprocessing.preprocessing_of` gives it.
    data_source: where `data` comes from, in words.
    variables: {'params', 'batch_stats'}.
    state_dict: the arrays under the file's own names; {} for a checkpoint.
    dialect: of the state dict.
    label_names: one name for each class, in the order of the outputs; None = not known.
    multi_label: an image has any number of labels: the network gives each class a score of its own.
  """

  model: dict[str, Any]
  data: dict[str, Any]
  data_source: str
  variables: dict[str, Any]
  state_dict: dict[str, np.ndarray]
  dialect: str
  label_names: tuple[str, ...] | None = None
  multi_label: bool = False

  def create(self) -> nn.Module:
    """Makes the network."""
    return create_network(self.model)


@dataclasses.dataclass(frozen=True)
class _Request:
  """What the caller of `read_weights` asked for; see there."""

  model: Mapping[str, Any] | None
  dialect: str
  kind: str
  step: int | str
  preprocessing: str
  widen: bool


def read_weights(
  path: str | os.PathLike,
  *,
  model: Mapping[str, Any] | None = None,
  dialect: str = 'timm',
  kind: str = 'ema',
  step: int | str = 'last',
  preprocessing: str = '',
  widen: bool = False,
) -> LoadedWeights:
  """Reads weights of any form.

  Args:
    path: the workdir of a training; a directory of converted weights; a timm folder, ours or timm's
      own, or 'hf-hub:OWNER/NAME'; or a .safetensors, .npz or PyTorch file. With the dialects of
      `tensorflow.READERS`, a file of TensorFlow.
    model: a recipe's `model` section. A file needs it, and counts the classes itself if it lacks
      `num_classes`. For a folder whose architecture is unknown, `name` is enough.
    dialect: the code whose names a file has.
    kind: 'ema' = the averaged weights, where there are any; 'raw' = the weights as trained.
    step: of a training: 'last', 'best' or a number.
    preprocessing: a name of `data.preprocessing.PREPROCESSING`, for weights that store none; '' =
      the default of the network.
    widen: pad ECA kernels that are smaller than the network's with zeros; see `widen_kernels`.

  Raises:
    UserError: there is nothing to read, a file is damaged, or it is of another network.
  """
  from ecanet_jax.checkpoints.files import is_checkpoint  # Orbax takes a second to import

  request = _Request(model, dialect, kind, step, preprocessing, widen)
  path = paths.to_path(client.fetch_folder(str(path)) if client.is_hub_name(path) else path)
  with paths.answers(path):
    is_folder = path.is_dir()
    _check(path, is_folder, request)
  if is_checkpoint(path):
    return _read_checkpoint(path, request)
  if is_folder:
    return _read_folder(path, request)
  return _read_file(path, request)


def _check(path: paths.Path, is_folder: bool, request: _Request) -> None:
  """Finds mistakes before anything is read."""
  if request.preprocessing:
    find_preprocessing(request.preprocessing)
  if not path.exists() and request.dialect not in READERS:  # a TF1 checkpoint is a prefix of files
    raise UserError(f'{path}: no such file or directory.{weights_hint(str(path))}')
  if is_folder and request.dialect != 'timm':
    raise UserError(
      f'dialect {request.dialect!r} is only for files, and {path} is a directory; leave it out.'
    )


def _read_checkpoint(path: paths.Path, request: _Request) -> LoadedWeights:
  from ecanet_jax.checkpoints.files import load_saved

  _check_no_preprocessing(path, request)
  saved = load_saved(path, ema=request.kind == 'ema', step=request.step)
  check_finite(path, traverse_util.flatten_dict(dict(saved.variables), sep='/'))
  data = preprocessing_of(saved.config['data'])
  summary = DataSummary.from_json(saved.data)
  return LoadedWeights(
    saved.config['model'], data, 'of the checkpoint', saved.variables, {}, 'timm',
    summary and summary.label_names, bool(summary and summary.multi_label),
  )


def _read_folder(path: paths.Path, request: _Request) -> LoadedWeights:
  if not (path / hub_folder.CONFIG).exists():
    if request.model and (file := find_weights(path)):
      return _read_file(file, request)
    raise UserError(
      f'{path} has neither checkpoints of a training nor the {hub_folder.CONFIG} of a timm folder; '
      'give the directory that holds them.'
    )
  found = hub_folder.read_folder(path, (request.model or {}).get('name') or '', request.kind)
  record = network(found.model['name'])
  if set(KEYS) <= set(found.data):
    _check_no_preprocessing(path, request)
    data, source = found.data, f'of {hub_folder.CONFIG}'
  else:
    data, source = _named_preprocessing(request, record, record.timm_dialect)
    data |= found.data
    if found.data:
      source += f', but for {", ".join(found.data)} of {hub_folder.CONFIG}'
  section, state_dict, variables = _import(
    path, found.model, found.state_dict, record.timm_dialect, request, settle=True
  )
  names = found.label_names if section.get('num_classes') != 0 else ()
  return LoadedWeights(
    section, data, source, variables, state_dict, record.timm_dialect, names or None,
    found.multi_label,
  )


def _read_file(path: paths.Path, request: _Request) -> LoadedWeights:
  if not request.model:
    raise UserError(
      f'{path} does not say which network it is of; name it, as convert does by --model=NAME.'
    )
  record, dialect = network(request.model['name']), request.dialect
  state_dict = READERS.get(dialect, formats.read_state_dict)(str(path), request.kind)
  section = {key: value for key, value in request.model.items() if value is not None}
  section, state_dict, variables = _import(
    path, section, state_dict, dialect, request, settle='num_classes' not in section
  )
  data, source = _named_preprocessing(request, record, dialect)
  return LoadedWeights(section, data, source, variables, state_dict, dialect)


def _import(
  path: paths.Path, section: Mapping[str, Any], state_dict: Mapping[str, np.ndarray], dialect: str,
  request: _Request, *, settle: bool,
) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, Any]]:
  """Returns the `model` section, the network's state dict and its variables.

  Args:
    path: of the weights, for messages.
    section: the `model` section.
    state_dict: as it is in the file.
    dialect: of the state dict.
    request: whether to widen kernels, and which weights to take.
    settle: the number of classes is the state dict's.
  """
  section = dict(section)
  model = create_from_config(section)
  if settle and not model.num_classes:
    model = create_from_config({**section, 'num_classes': 1})
  state = own_arrays(model, state_dict, dialect, request.kind)
  if settle:
    state, section['num_classes'] = settle_classifier(str(path), model, state, dialect)
    model = create_from_config(section)
  if request.widen:
    state = widen_kernels(state, model, dialect)
  variables = from_torch(model, state, dialect)
  check_finite(path, state)
  return section, state, variables


def _named_preprocessing(request: _Request, record, dialect: str) -> tuple[dict[str, Any], str]:
  """Returns the keys of a `data` section and where they come from, in words."""
  name = request.preprocessing or default_preprocessing(record.name, dialect)
  source = name if request.preprocessing else f'{name}, the default for {record.name}'
  return find_preprocessing(name).data(record.image_size), source


def _check_no_preprocessing(path: paths.Path, request: _Request) -> None:
  if request.preprocessing:
    raise UserError(
      f'preprocessing {request.preprocessing!r}: {path} has its own preprocessing; leave it out.'
    )


def load_pretrained(
  directory: str | os.PathLike, *, kind: str = 'ema', name: str = '', dialect: str = 'timm',
  **overrides: Any,
) -> tuple[nn.Module, dict[str, Any]]:
  """Loads a network with its weights.

  Args:
    directory: a timm folder, ours or timm's own, or 'hf-hub:OWNER/NAME'; the workdir of a training;
      a directory of converted weights; or, with `name`, a file.
    kind: of a training: 'ema' = the averaged weights, where there are any; 'raw' = as trained.
    name: the network that the directory must hold; '' = any.
    dialect: the code whose names a file has.
    **overrides: fields of the network that do not change its arrays, such as drop_path. Another
      `num_classes` gives a new, untrained classifier, and the log says so; 0 drops the classifier,
      and the output is the pooled features. Another `in_chans` adapts the stem's first kernel
      (`weights.stem`).

  Returns:
    The Flax module, and {'params', 'batch_stats'} as numpy arrays. `model.apply(variables, images,
    train=False)` maps `[B, H, W, in_chans]` to logits. The images must be prepared as the folder's
    config.json says; `ecanet_jax.load` gives a classifier that does it.

  Raises:
    UserError: there is nothing to read, a file is damaged, or the network is unknown or not the one
      that was asked for.
  """
  with paths.answers(directory):
    if not (name or client.is_hub_name(directory) or paths.to_path(directory).is_dir()):
      raise UserError(
        f'{directory} is not a directory.' + (weights_hint(str(directory)) or
        ' Of a file say which network it is of: ecanet_jax.create_model(NAME, pretrained=FILE).')
      )
  model = {'name': name} if name else None
  loaded = read_weights(directory, kind=kind, model=model, dialect=dialect)
  section, variables = loaded.model, loaded.variables
  if name and section['name'] != name:
    raise UserError(
      f'{directory} holds {section["name"]}, not {name}; ask for {section["name"]}.'
    )
  found, wanted = loaded.create().num_classes, overrides.pop('num_classes', None)
  if wanted == 0:
    section, variables = drop_classifier(section, variables)
  elif wanted and wanted != found:
    log.warning(
      '%s: %s new one of %d, which has to be trained.', directory,
      f'its classifier of {found} classes is replaced by a' if found else 'the classifier is a',
      wanted,
    )
    section, variables = replace_classifier(section, variables, wanted)
  if channels := overrides.pop('in_chans', None):
    section, variables = adapt_stem(section, variables, channels)
  model = create_from_config({**section, **overrides})
  expected = parameter_shapes(model, loaded.data.get('image_size', IMAGE_SIZE))
  check_keys(expected, flat_shapes(variables), 'the weights do not fit')
  return model, variables
