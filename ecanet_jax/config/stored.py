"""The config of a training, from the config.json in its workdir."""

import json
import os
from collections.abc import Mapping
from typing import Any

from ml_collections import config_dict

from ecanet_jax.config.schema import KEYS, get_config
from ecanet_jax.config.trees import flat
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError

FILE = 'config.json'


def read_config(workdir: str | os.PathLike) -> config_dict.ConfigDict:
  """The locked config of a training.

  Keys that it does not have keep their defaults; keys that this version does not have are left out.

  Raises:
    UserError: the directory has no config of a training, or it cannot be read.
  """
  path = paths.to_path(workdir) / FILE
  with paths.answers(path):
    if not path.is_file():
      raise UserError(f'{workdir} has no {FILE} of a training; give --config=RECIPE, too.')
    text = path.read_text()
  try:
    return from_plain(json.loads(text))
  except (AttributeError, TypeError, ValueError) as error:
    raise UserError(
      f'{path} is not the config of a training ({error}); give --config=RECIPE, too.'
    ) from error


def from_plain(tree: Mapping[str, Any]) -> config_dict.ConfigDict:
  """The locked config with the values of a plain one (`trees.plain`).

  Raises:
    TypeError: a value has another type than its key.
  """
  config, values = get_config(), flat(tree)
  known = [key.name for key in KEYS if key.name in values]
  config.update_from_flattened_dict({name: _tuples(values[name]) for name in known})
  return config


def _tuples(value: Any) -> Any:
  """Lists as tuples, also inside of lists."""
  return tuple(map(_tuples, value)) if isinstance(value, list) else value
