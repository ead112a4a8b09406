"""Reads and writes weights folders in the format of timm and the Hugging Face hub.

A folder holds `model.safetensors`, `config.json` and `README.md` (format: timm/models/_hub.py). In
PyTorch, `timm.create_model('local-dir:DIRECTORY', pretrained=True)` loads it. The section
`ecanet_jax` of config.json names our network and has the checksums of the weights; timm ignores it.
"""

import dataclasses
import json
import math
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import numpy as np

from ecanet_jax.models.record import Network
from ecanet_jax.nn.parameter_shapes import parameter_shapes
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.version import __version__
from ecanet_jax.weights.convert import entries
from ecanet_jax.weights.files import checksum, formats
from ecanet_jax.weights.files.weights_file import find_weights
from ecanet_jax.weights.hub.folder_config import CONFIG, MULTI_LABEL, TIMM_KEYS, read_config
from ecanet_jax.weights.hub.model_card import card

WEIGHTS = 'model.safetensors'
CARD = 'README.md'
FILES = frozenset((WEIGHTS, CONFIG, CARD, '.gitattributes'))  # an export may replace these


@dataclasses.dataclass(frozen=True)
class Folder:
  """The content of a folder.

  Attributes:
    model: a recipe's `model` section: name, num_classes and, in our own exports, all overrides.
    data: the preprocessing keys of a recipe's `data` section that config.json has.
    state_dict: the weights, in the timm dialect.
    label_names: the classes' names, in order; () where the folder has none.
    multi_label: an image has any number of labels.
  """

  model: dict[str, Any]
  data: dict[str, Any]
  state_dict: dict[str, np.ndarray]
  label_names: tuple[str, ...]
  multi_label: bool


def write_folder(
  directory: str | os.PathLike,
  record: Network,
  model: nn.Module,
  state_dict: Mapping[str, np.ndarray],
  data: Mapping[str, Any],
  *,
  label_names: Sequence[str] | None = None,
  multi_label: bool = False,
  model_config: Mapping[str, Any] | None = None,
  data_name: str = '',
  evaluation: str = '',
) -> None:
  """Writes a folder. It replaces an earlier export in the same directory.

  On a local disk it appears whole. In a bucket config.json goes first and comes last, and without
  it the other files are no export.

  Args:
    directory: the folder to write; it and its parents are created.
    record: the network's record, with its name in timm.
    model: from `create_model`.
    state_dict: in the timm dialect.
    data: the preprocessing, `data.preprocessing.KEYS` of a recipe's `data`.
    label_names: the classes' names, in order.
    multi_label: an image has any number of labels.
    model_config: the recipe's `model` section; `read_folder` reads it back.
    data_name: the training data, for README.md; '' = not known.
    evaluation: the accuracy of these weights, for README.md; '' = not measured.

  Raises:
    UserError: the directory holds files that are not of an export, or cannot be written; the
      numbers of label names and classes differ.
  """
  config = _config(record, model, data, label_names, model_config)
  if multi_label:
    config['problem_type'] = MULTI_LABEL
  content = formats.to_bytes(state_dict)
  config['ecanet_jax']['checksums'] = checksum.record(content, state_dict)
  text = card(
    config, _count_parameters(model), in_timm=bool(record.timm), data_name=data_name,
    evaluation=evaluation,
  )
  target, config_text = check_target(directory), json.dumps(config, indent=2, ensure_ascii=False)
  contents = {WEIGHTS: content, CARD: text.encode(), CONFIG: f'{config_text}\n'.encode()}
  if paths.is_remote(target):
    with paths.answers(target):
      (target / CONFIG).unlink(missing_ok=True)
    for name, data_bytes in contents.items():
      formats.write_bytes(target / name, data_bytes)
    return
  fresh = target.with_name(f'.{target.name}.{uuid.uuid4().hex[:8]}.partial')
  try:
    fresh.mkdir(parents=True)
    for name, data_bytes in contents.items():
      formats.write_bytes(fresh / name, data_bytes)
    _swap(fresh, target)
  except OSError as error:
    raise UserError(f'cannot write {target}: {error.strerror or error}.') from error
  finally:
    shutil.rmtree(fresh, ignore_errors=True)


def _config(
  record: Network, model: nn.Module, data: Mapping[str, Any], label_names: Sequence[str] | None,
  model_config: Mapping[str, Any] | None,
) -> dict[str, Any]:
  """Returns the content of config.json; the arguments are those of `write_folder`."""
  classes, size = model.num_classes, data['image_size']
  if label_names is not None and len(label_names) != classes:
    raise UserError(
      f'{len(label_names)} label names for {classes} classes; give one for each class.'
    )
  config = {
    # timm answers 'Unknown model' for a network that it does not have.
    'architecture': record.timm or f'ecanet_jax_{record.name}',
    'num_classes': classes,
    'num_features': _features(model),
    'global_pool': model.global_pool,
    'model_args': {**record.timm_arguments, **_fields(model)},
    'pretrained_cfg': {
      'custom_load': False,
      'input_size': [model.in_chans, size, size],
      'fixed_input_size': False,
      'crop_mode': data.get('crop_mode', 'center'),
      **{theirs: _plain(data[ours]) for ours, theirs in TIMM_KEYS.items()},
      'num_classes': classes,
      'pool_size': [-(-size // 32)] * 2,
      **_ends(model, record.timm_dialect),
    },
    'ecanet_jax': {
      'version': __version__,
      'source': record.source,
      'model': _plain(
        model_config or {'name': record.name, 'num_classes': classes, **_fields(model)}
      ),
    },
  }
  if data.get('exif', 'ignore') != 'ignore':
    config['ecanet_jax']['exif'] = data['exif']  # timm has no word for it
  if label_names is not None:
    config['label_names'] = list(label_names)
  return config


def check_target(directory: str | os.PathLike) -> paths.Path:
  """Returns the absolute path of a directory that an export may be written to.

  Raises:
    UserError: a file, or a directory that holds files that are not of an export.
    StoreError: the bucket does not answer.
  """
  target = paths.absolute(paths.to_path(directory))
  with paths.answers(target):
    is_folder = target.is_dir()
    if not is_folder and target.exists():
      raise UserError(f'{target} is a file; give an empty or a new directory.')
    others = sorted({path.name for path in target.iterdir()} - FILES) if is_folder else []
  if others:
    raise UserError(
      f'{target} holds {others[0]!r}, which is not of an export; give an empty or a new directory.'
    )
  return target


def read_folder(
  directory: str | os.PathLike, name: str = '', kind: str = 'ema'
) -> Folder:
  """Reads a folder written by this package or by timm.

  Args:
    directory: with config.json and a file of weights.
    name: of the network to read it as; '' = the one that config.json names.
    kind: which weights of a PyTorch training checkpoint, see `files.wrappers`.

  Raises:
    UserError: a file is missing, damaged or differs from its checksums; we do not have the network,
      or it is another one than `name`.
  """
  path = paths.to_path(directory)
  config = read_config(path, name)
  file = find_weights(path)
  if file is None:
    raise UserError(f'{path} has no file of weights, such as {WEIGHTS}; copy it there.')
  sums = config.checksums if file.name == WEIGHTS else None
  state_dict = formats.read_state_dict(str(file), kind, sums)
  return Folder(
    config.model, config.data, state_dict, config.label_names, config.multi_label
  )


def _features(model: nn.Module) -> int:
  """Returns the number of inputs of the classifier."""
  return parameter_shapes(_with_classifier(model))['params/classifier/kernel'][0]


def _with_classifier(model: nn.Module) -> nn.Module:
  return model.clone(num_classes=model.num_classes or 1)


def _fields(model: nn.Module) -> dict[str, Any]:
  """Returns timm's arguments for images that are not RGB, and for another global pooling."""
  fields = {'in_chans': 3, 'global_pool': 'avg'}
  return {key: getattr(model, key) for key in fields if getattr(model, key) != fields[key]}


def _count_parameters(model: nn.Module) -> int:
  shapes = parameter_shapes(model)
  return sum(math.prod(shapes[path]) for path in shapes if path.startswith('params/'))


def _ends(model: nn.Module, dialect: str) -> dict[str, str]:
  """Returns timm's names of the first convolution and of the classifier."""
  keys = [entry.key.rpartition('.')[0] for entry in entries(_with_classifier(model), dialect)[0]]
  return {'first_conv': keys[0], 'classifier': keys[-1]}


def _plain(value):
  """Returns a config section as JSON values, without its unset keys."""
  if isinstance(value, Mapping):
    return {key: _plain(item) for key, item in value.items() if item is not None}
  return list(value) if isinstance(value, (tuple, list)) else value


def _swap(fresh: paths.Path, target: paths.Path) -> None:
  """Replaces the directory `target` by `fresh`; restores `target` if that fails."""
  if not target.exists():
    os.rename(fresh, target)
    return
  old = target.with_name(f'.{target.name}.{uuid.uuid4().hex[:8]}.old')
  os.rename(target, old)
  try:
    os.rename(fresh, target)
  except OSError:
    os.rename(old, target)
    raise
  shutil.rmtree(old)
