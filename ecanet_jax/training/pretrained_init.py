"""Pretrained weights from which a training starts: a checkpoint, a folder or a file."""

import json
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from ecanet_jax.checkpoints.files import is_checkpoint
from ecanet_jax.config.inherited import inherit, is_given
from ecanet_jax.config.schema import check
from ecanet_jax.config.stored import FILE
from ecanet_jax.data.label_names import names_as_wnids
from ecanet_jax.data.preprocessing import preprocessing_of
from ecanet_jax.detection.from_config import backbone_section, is_detector
from ecanet_jax.detection.networks.detector import Detector
from ecanet_jax.models.computation import FREE_FIELDS, other_fields
from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.nn.parameter_shapes import parameter_shapes
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, lookup
from ecanet_jax.runtime.key_difference import check_keys
from ecanet_jax.runtime.log import log
from ecanet_jax.training.detector_init import PREPROCESSING, detector_arrays
from ecanet_jax.weights.files.formats import WRAPPERS
from ecanet_jax.weights.hub.client import is_hub_name
from ecanet_jax.weights.loaded_weights import LoadedWeights, read_weights

HEAD = 'params/classifier/'
PIXEL_KEYS = ('mean', 'std', 'interpolation')  # preprocessing that changes pixel values


def resolve(
  config, workdir: str | os.PathLike, given: Collection[str] = ()
) -> tuple[Any, LoadedWeights | None]:
  """Takes from `init.weights` what the user has not given: the network and the preprocessing.

  A training that resumes takes it from its own config instead, and reads no weights. The log has a
  line for each value that changes.

  Args:
    config: the whole config; it stays as it is.
    workdir: of the training.
    given: the keys of the command line; see `config.inherited.is_given`.

  Returns:
    The config to train, and the weights to start from, if any.

  Raises:
    UserError: there is nothing to read, or the weights are damaged.
  """
  source, saved = None, _saved_config(workdir) if is_checkpoint(workdir) else {}
  weights = config.init.weights or saved.get('init', {}).get('weights')
  if not weights:
    return config, None
  if saved:
    sections = {key: saved.get(key, {}) for key in ('model', 'data', 'init')}
    origin = paths.to_path(workdir) / FILE
  else:
    try:
      lookup(WRAPPERS, config.init.kind, 'init.kind')
      source = _read(config)
    except UserError as error:
      raise _named(config, error) from error
    sections, origin = {'model': source.model, 'data': source.data}, f'init.weights={weights}'
  taken = ('name', 'num_classes') if saved else ('name',)
  model = {
    key: value for key, value in sections['model'].items()
    if key in taken or key not in FREE_FIELDS
  }
  data = preprocessing_of(sections['data'])
  if is_detector(config.model.name):  # the weights may be those of its backbone
    model, data = {}, {key: data[key] for key in PREPROCESSING if key in data}
  config, lines = inherit(config, given, {**sections, 'model': model, 'data': data}, str(origin))
  for line in lines:
    log.info('%s', line)
  check(config)
  return config, source


def take_classes(config, num_classes: int, given: Collection[str] = ()) -> None:
  """Sets `model.num_classes` of a config with `init.weights`, unless the user has given it."""
  if config.init.weights and not is_given(config, 'model.num_classes', given):
    config.model.num_classes = num_classes


def _saved_config(workdir: str | os.PathLike) -> dict[str, Any]:
  """The config of the training in a workdir; {} if its file is missing."""
  path = paths.to_path(workdir) / FILE
  try:
    with paths.answers(path):
      return dict(json.loads(path.read_text()))
  except FileNotFoundError:
    return {}
  except (TypeError, ValueError) as error:
    raise UserError(f'{path} is damaged; remove it, or restore it from a backup.') from error


def initial_weights(
  config, model: ConvNet, source: LoadedWeights | None = None,
  label_names: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
  """The arrays of `init.weights` for a network; the log names the arrays that stay random.

  Args:
    config: the whole config.
    model: the network to train.
    source: the weights, if they have been read.
    label_names: of the data's classes; None = the data have no names.

  Returns:
    float32 arrays by path ('params/stem/kernel'): all of the network, except the classifier's if
    the number of classes or their names differ, or `init.new_head` is set.

  Raises:
    UserError: there is nothing to read, or the weights are of another network.
  """
  path = config.init.weights
  try:
    source = source or _read(config)
    if isinstance(model, Detector):
      return detector_arrays(config, model, source)
    found = flatten_dict(dict(source.variables), sep='/')
    wanted = parameter_shapes(model, config.data.image_size)
    why = _reason_for_new_head(config, model, source, label_names)
    new = [key for key in wanted if key.startswith(HEAD)] if why else []
    check_keys(
      {key: shape for key, shape in wanted.items() if key not in new},
      {key: np.shape(array) for key, array in found.items() if not (new and key.startswith(HEAD))},
      'these weights do not fit',
    )
    _check_fields(source.create(), model)
  except UserError as error:
    raise _named(config, error) from error
  log.info(
    'starts from %s: %s, %d of %d arrays', path, source.model['name'],
    len(wanted) - len(new), len(wanted),
  )
  if new:
    listed = ', '.join(f'{key} {list(wanted[key])}' for key in new)
    log.info('new, not from the weights (%s): %s', why, listed)
  _compare_preprocessing(config, source)
  return {key: np.asarray(found[key], np.float32) for key in wanted if key not in new}


def _reason_for_new_head(
  config, model: ConvNet, source: LoadedWeights, label_names: Sequence[str] | None
) -> str:
  """Why the classifier of the weights is not used; '' if it is."""
  classes, names = source.create().num_classes, source.label_names
  if classes != model.num_classes:
    return f'{model.num_classes} classes instead of {classes}'
  if config.init.new_head:
    return 'init.new_head'
  known = names and label_names and not config.data.accept_changes
  if known and names_as_wnids(names) != names_as_wnids(label_names):
    first = next(pair for pair in zip(names, label_names) if pair[0] != pair[1])
    return 'other class names, first {!r} and {!r}; data.accept_changes keeps it'.format(*first)
  return ''


def _named(config, error: UserError) -> UserError:
  return UserError(f'init.weights={config.init.weights}: {error}')


def _read(config) -> LoadedWeights:
  path, section = config.init.weights, config.init
  options = {'dialect': section.dialect, 'kind': section.kind, 'step': section.checkpoint}
  with paths.answers(path):
    is_file = not is_hub_name(path) and not paths.to_path(path).is_dir()
  if is_file:
    network = config.model.to_dict()
    if is_detector(network['name']):
      network = backbone_section(network)
    del network['num_classes']  # the file's own
    return read_weights(path, model=network, **options)
  try:
    return read_weights(path, **options)
  except UserError:
    # A folder of ours that only the config's network name can identify; else the same error again.
    return read_weights(path, model={'name': config.model.name}, **options)


def _check_fields(theirs: ConvNet, ours: ConvNet) -> None:
  """Refuses weights of a network with the same arrays that computes something else."""
  if other := other_fields(theirs, ours, ('folded',)):
    listed = '; '.join(f'{key} {their!r} and {our!r}' for key, (their, our) in other.items())
    raise UserError(
      'the arrays fit, but their network computes something else, theirs and ours: '
      f'{listed}. Set config.model to their values.'
    )


def _compare_preprocessing(config, source: LoadedWeights) -> None:
  """Warns if this training prepares its images differently, with the flags that prevent it."""
  values: Mapping = source.data
  alike = lambda a, b: np.allclose(a, b, atol=1e-4) if not isinstance(a, str) else a == b
  other = [key for key in PIXEL_KEYS if key in values and not alike(values[key], config.data[key])]
  if other:
    as_flag = lambda value: value if isinstance(value, str) else (
      '"(' + ','.join(f'{number:.6g}' for number in value) + ')"'
    )
    flags = ' '.join(f'--config.data.{key}={as_flag(values[key])}' for key in other)
    log.warning(
      '%s: its images were prepared differently (%s); to do the same: %s', config.init.weights,
      source.data_source, flags,
    )
