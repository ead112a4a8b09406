"""The network that a config.json of timm describes, in our terms.

timm writes every argument of `timm.create_model` (timm/models/_hub.py: save_config_for_hf). Those
that change no logit are accepted; the number of classes, the channels of the images and the global
pooling become fields; all others must be those of a registered network.
"""

from collections.abc import Mapping
from typing import Any

from ecanet_jax.models import create_model, list_models, network
from ecanet_jax.models.computation import other_fields
from ecanet_jax.models.registry import create_from_config
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, known
from ecanet_jax.runtime.log import log
from ecanet_jax.weights.files.weights_file import find_weights
from ecanet_jax.weights.torchvision_shim import import_torchvision

# Arguments of timm that change no logit of a trained network.
FREE = frozenset((
  'drop_rate', 'drop_path_rate', 'drop_block_rate', 'drop_connect_rate', 'zero_init_last',
  'bn_momentum', 'pretrained', 'pretrained_cfg', 'pretrained_cfg_overlay', 'checkpoint_path',
  'cache_dir', 'scriptable', 'exportable', 'no_jit',
))
# Arguments at the value that they have by default.
DEFAULTS = {
  'output_stride': 32, 'features_only': False, 'aa_layer': '', 'block_args': {}, 'bn_tf': False,
}
# timm's global_pool -> ours.
POOLS = {
  'avg': 'avg', 'fast': 'avg', 'fastavg': 'avg', 'max': 'max', 'fastmax': 'max',
  'avgmax': 'avgmax', 'fastavgmax': 'avgmax',
}
FIELDS = ('num_classes', 'in_chans', 'global_pool')  # set beside the name of the network


def section_of(
  architecture: str, arguments: Mapping[str, Any], num_classes: int, where: str
) -> dict[str, Any]:
  """Returns the `model` section of the network.

  Args:
    architecture: its name in timm; a tag such as '.a1_in1k' names weights and is ignored.
    arguments: `model_args` of config.json.
    num_classes: where the arguments have none.
    where: the file, for messages.

  Raises:
    UserError: we do not have the network, or not with these arguments.
  """
  given = {
    key: value for key, value in arguments.items()
    if value is not None and key not in FREE and DEFAULTS.get(key, ...) != value
  }
  section = {'num_classes': given.pop('num_classes', num_classes)}
  if (channels := given.pop('in_chans', 3)) != 3:
    section['in_chans'] = channels
  pool = given.pop('global_pool', 'avg')
  if pool not in POOLS:
    raise UserError(
      f'{where}: global_pool={pool!r} is not built here; it is one of {", ".join(POOLS)}.'
    )
  if POOLS[pool] != 'avg':
    section['global_pool'] = POOLS[pool]
  base = architecture.partition('.')[0]
  records = [record for record in map(network, list_models()) if record.timm == base]
  for record in records:
    if dict(record.timm_arguments) == given:
      return {'name': record.name, **section}
  if records:
    ours = [dict(record.timm_arguments) for record in records]
    listed = ' or '.join(str(arguments or 'no further arguments') for arguments in ours)
    raise UserError(
      f'{where}: we have no network for {base!r} with {given}; {_advice(where)}. It is built with '
      f'{listed}.'
    )
  return {'name': '', **section}


def check_same(name: str, section: Mapping[str, Any], where: str) -> None:
  """Checks that a named network computes the same as the one that a folder describes.

  Args:
    name: the network that was asked for.
    section: the `model` section of the folder's.
    where: the folder, for messages.

  Raises:
    UserError: it computes something else; the message says what.
  """
  ours, theirs = create_model(name), create_from_config(section)
  other = other_fields(theirs, ours, FIELDS)
  if not other and type(ours) is type(theirs):
    return
  found, wanted = (getattr(model, 'preset', '') for model in (theirs, ours))
  if found != wanted:
    differs = f'has the padding and BatchNorm of preset={found}; {name} has preset={wanted}'
  else:
    short = lambda pair: all(isinstance(value, bool | int | float | str) for value in pair)
    listed = [key + (f' ({a!r}, not {b!r})' if short((a, b)) else '')
              for key, (a, b) in list(other.items())[:3]]
    differs = f'does not fit the network {name}: it differs in {", ".join(listed) or "the family"}'
  raise UserError(
    f'{where} holds {section["name"]}, which {differs}. Ask for {section["name"]}, or for no name.'
  )


def unknown(architecture: str, arguments: Mapping[str, Any], name: str, where: str) -> None:
  """Says that a network is not known, or with a `name` that it cannot be compared.

  Raises:
    UserError: there is no `name`, or timm has another network of this architecture.
  """
  if not name:
    timm = {network(name).timm for name in list_models()} - {''}
    raise UserError(
      f'{where}: we have no network for {architecture!r} with {dict(arguments)}; {_advice(where)}. '
      f'{known(timm, architecture)}'
    )
  if _in_timm(architecture):
    raise UserError(
      f'{where} holds {architecture!r} of timm, which is another network than {name} and is not '
      f'built here. {known({network(each).timm for each in list_models()} - {""}, architecture)}'
    )
  log.warning(
    '%s: %r is not known here; it is read as %s, as asked. The names and shapes of all arrays are '
    'compared, its padding and activations are not.', where, architecture, name,
  )


def convert_alone(where: str) -> str:
  """A command that reads a folder's file alone, whatever config.json says."""
  folder = paths.to_path(where)
  file = find_weights(folder) or folder / 'model.safetensors'
  return f'python -m ecanet_jax convert {file} TARGET --model=NAME'


def _advice(where: str) -> str:
  return f'convert it by `{convert_alone(where)}` if NAME computes the same'


def _in_timm(architecture: str) -> bool:
  try:
    import_torchvision()
    import timm
  except Exception:  # a broken installation can raise anything
    return False
  return bool(timm.is_model(architecture))
