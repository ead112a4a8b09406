"""Pretrained weights from which a training starts: a checkpoint, a folder or a file."""

from collections.abc import Mapping

import numpy as np
from flax.traverse_util import flatten_dict

from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.nn.parameter_shapes import parameter_shapes
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, lookup
from ecanet_jax.runtime.key_difference import check_keys
from ecanet_jax.runtime.log import log
from ecanet_jax.training.resume import other_fields
from ecanet_jax.weights.files.formats import WRAPPERS
from ecanet_jax.weights.hub.client import is_hub_name
from ecanet_jax.weights.loaded_weights import LoadedWeights, read_weights

HEAD = 'params/classifier/'
PIXEL_KEYS = ('mean', 'std', 'interpolation')  # preprocessing that changes pixel values


def initial_weights(config, model: ConvNet) -> dict[str, np.ndarray]:
  """Reads `init.weights` for a network; the log names the arrays that stay random.

  Args:
    config: the whole config.
    model: the network to train.

  Returns:
    float32 arrays by path ('params/stem/kernel'): all of the network, except the classifier's if
    the number of classes differs or `init.new_head` is set.

  Raises:
    UserError: there is nothing to read, or the weights are of another network.
  """
  path = config.init.weights
  try:
    lookup(WRAPPERS, config.init.kind, 'init.kind')
    source = _read(config)
    found = flatten_dict(dict(source.variables), sep='/')
    wanted = parameter_shapes(model, config.data.image_size)
    classes = source.create().num_classes
    head = [key for key in wanted if key.startswith(HEAD)]
    new = head if config.init.new_head or classes != model.num_classes else []
    check_keys(
      {key: shape for key, shape in wanted.items() if key not in new},
      {key: np.shape(array) for key, array in found.items() if not (new and key.startswith(HEAD))},
      'these weights do not fit',
    )
    _check_fields(source.create(), model)
  except UserError as error:
    raise UserError(f'init.weights={path}: {error}') from error
  log.info(
    'starts from %s: %s, %d of %d arrays', path, source.model['name'],
    len(wanted) - len(new), len(wanted),
  )
  if new:
    why = f'{model.num_classes} classes instead of {classes}' if classes != model.num_classes else (
      'init.new_head'
    )
    listed = ', '.join(f'{key} {list(wanted[key])}' for key in new)
    log.info('new, not from the weights (%s): %s', why, listed)
  _compare_preprocessing(config, source)
  return {key: np.asarray(found[key], np.float32) for key in wanted if key not in new}


def _read(config) -> LoadedWeights:
  path, section = config.init.weights, config.init
  step = int(section.checkpoint) if section.checkpoint.isdigit() else section.checkpoint
  options = {'dialect': section.dialect, 'kind': section.kind, 'step': step}
  with paths.answers(path):
    is_file = not is_hub_name(path) and not paths.to_path(path).is_dir()
  if is_file:
    network = config.model.to_dict()
    del network['num_classes']  # the file's own
    return read_weights(path, model=network, **options)
  try:
    return read_weights(path, **options)
  except UserError:
    # A folder of ours that only the config's network name can identify; else the same error again.
    return read_weights(path, model={'name': config.model.name}, **options)


def _check_fields(theirs: ConvNet, ours: ConvNet) -> None:
  """Refuses weights of a network with the same arrays that computes something else."""
  if other := other_fields(theirs, ours):
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
