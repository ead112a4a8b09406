"""Reads the config.json of a weights folder, of this package or of timm."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ecanet_jax.data.preprocessing import CROP_MODES
from ecanet_jax.models import list_models
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.log import log
from ecanet_jax.weights.files import checksum
from ecanet_jax.weights.hub import timm_network

CONFIG = 'config.json'
MULTI_LABEL = 'multi_label_classification'  # problem_type in config.json, as in transformers
# Our names of the preprocessing -> timm's; image_size is in timm's input_size.
TIMM_KEYS = {
  'mean': 'mean', 'std': 'std', 'interpolation': 'interpolation', 'crop_fraction': 'crop_pct',
}
INTERPOLATIONS = ('bicubic', 'bilinear')
# What timm recommends for tests beside the size and crop of the training.
FOR_TESTS = ('test_input_size', 'test_crop_pct')


@dataclasses.dataclass(frozen=True)
class FolderConfig:
  """The content of a config.json.

  Attributes:
    model: a recipe's `model` section: name, num_classes and, in our own exports, all overrides.
    data: the preprocessing keys of a recipe's `data` section that it has.
    label_names: the classes' names, in order; () where it has none.
    multi_label: an image has any number of labels.
    checksums: of model.safetensors; None where it has none.
  """

  model: dict[str, Any]
  data: dict[str, Any]
  label_names: tuple[str, ...]
  multi_label: bool
  checksums: checksum.Record | None


def read_config(directory: paths.Path, name: str = '') -> FolderConfig:
  """Reads a folder's config.json.

  Args:
    directory: the folder.
    name: of the network to read it as; '' = the one that config.json names.

  Raises:
    UserError: it is missing, or no config.json of weights; we do not have the network, or it is
      another one than `name`; it asks for a preprocessing that we do not do.
  """
  path = directory / CONFIG
  try:
    config = checksum.read_json(path)
    given, ours = config.get('pretrained_cfg', config), config.get('ecanet_jax') or {}
    architecture, arguments = str(config['architecture']), dict(config.get('model_args') or {})
    classes = int(config.get('num_classes', given.get('num_classes', 1000)))
    labels = _labels(config.get('label_names') or given.get('label_names'))
    model, data = ours.get('model'), _data(given, str(directory))
    data |= {key: ours[key] for key in ('exif',) if key in ours}  # timm has no word for it
    pool = config.get('global_pool') or 'avg'
  except UserError:
    raise
  except OSError as error:
    raise UserError(
      f'{path}: {error.strerror or error}; give the directory of a timm folder.'
    ) from error
  except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
    damaged = isinstance(error, json.JSONDecodeError | UnicodeDecodeError)
    raise UserError(f'{path} is not the config.json of a timm folder; ' + (
      'copy or download it again.' if damaged else
      'give the file of weights itself, and say which network it is of.'
    )) from error
  if not model:
    if 'global_pool' not in arguments and timm_network.POOLS.get(pool) != 'avg':
      raise UserError(
        f'{path}: global_pool={pool!r} is not in its model_args, and timm builds the network '
        f'without it; add "model_args": {{"global_pool": "{pool}"}} there.'
      )
    model = timm_network.section_of(architecture, arguments, classes, str(directory))
  if not model['name']:
    timm_network.unknown(architecture, arguments, name, str(directory))
    model = {**model, 'name': name}
  elif name and name != model['name']:
    if name not in list_models() or model['name'] in list_models():
      timm_network.check_same(name, model, str(directory))
    model = {**model, 'name': name}
  classes = model.get('num_classes', classes)
  if labels and len(labels) != classes:
    log.warning(
      '%s: label_names has %d names for %s classes; they are not used.', path, len(labels), classes
    )
    labels = ()
  multi_label = config.get('problem_type') == MULTI_LABEL
  return FolderConfig(model, data, labels, multi_label, ours.get('checksums'))


def _labels(names: Any) -> tuple[str, ...]:
  """The label_names of a config.json: a list, or a dict from the class's number to its name.

  timm allows numbers without a name. Such a dict gives (), as anything else that is no text does.
  """
  if isinstance(names, Mapping):
    numbered = {str(number): name for number, name in names.items()}
    names = [numbered.get(str(number)) for number in range(len(numbered))]
  texts = isinstance(names, list) and all(isinstance(name, str) for name in names)
  return tuple(names) if texts else ()


def _data(given: Mapping[str, Any], where: str) -> dict[str, Any]:
  """Returns the preprocessing of a `pretrained_cfg`.

  Raises:
    UserError: it asks for one that we do not do.
  """
  given = {key: value for key, value in given.items() if value is not None}
  data = {ours: given[theirs] for ours, theirs in TIMM_KEYS.items() if theirs in given}
  refuse = lambda key, known: UserError(
    f'{where}: {key}={given[key]!r} is no preprocessing of ours ({known}); choose one: '
    f'`{timm_network.convert_alone(where)} --preprocessing=NAME`.'
  )
  if data.get('interpolation', 'bicubic') not in INTERPOLATIONS:
    raise refuse('interpolation', ', '.join(INTERPOLATIONS))
  if given.get('crop_mode', 'center') not in CROP_MODES:
    raise refuse('crop_mode', ', '.join(CROP_MODES))
  if given.get('crop_mode', 'center') != 'center':
    data['crop_mode'] = given['crop_mode']
  if given.get('label_offset'):
    raise refuse('label_offset', 'the classes are those of the classifier')
  for key, above in (('mean', -np.inf), ('std', 0.0)):
    if key in given and not _numbers(given[key], above):
      raise refuse(key, f'one number of each channel{", above 0" if above == 0 else ""}')
  if 'crop_pct' in given and not _numbers([given['crop_pct']], 0.0, 1.0):
    raise refuse('crop_pct', 'a number above 0, at most 1')
  if 'input_size' in given:
    *_, height, width = given['input_size']
    if height != width:
      raise refuse('input_size', 'images are square')
    data['image_size'] = width
  if tests := {key: given[key] for key in FOR_TESTS if key in given}:
    listed = ', '.join(f'{key} {value}' for key, value in tests.items())
    log.info('%s: %s recommends for tests %s; its training size is used', where, CONFIG, listed)
  return data


def _numbers(values: Any, above: float, at_most: float = np.inf) -> bool:
  """Whether `values` are one or three finite numbers within the bounds."""
  return isinstance(values, list | tuple) and len(values) in (1, 3) and all(
    type(value) in (int, float) and np.isfinite(value) and above < value <= at_most
    for value in values
  )
