"""What a config takes over from weights: values that its user has not given."""

import copy
from collections.abc import Collection, Mapping
from typing import Any

from ecanet_jax.config.schema import KEYS
from ecanet_jax.config.trees import flat, value_of

_DEFAULTS = {key.name: key.default for key in KEYS}


def is_given(config: Mapping[str, Any], key: str, given: Collection[str]) -> bool:
  """Whether the user has given the value of a key.

  A key of the command line is given. A recipe's value is given if it differs from the default of
  the schema: a recipe that assigns the default cannot be told from one that assigns nothing.

  Args:
    config: the whole config.
    key: with its sections, such as 'data.mean'.
    given: the keys of the command line.
  """
  default, value = _DEFAULTS[key], value_of(config, key)
  return key in given or (value is not None if isinstance(default, type) else value != default)


def inherit(
  config, given: Collection[str], sections: Mapping[str, Any], origin: str
) -> tuple[Any, list[str]]:
  """Fills a config with the values of weights wherever the user has given none.

  The fields of the network are taken only if the network is the weights' own.

  Args:
    config: the whole config; it stays as it is.
    given: the keys of the command line; see `is_given`.
    sections: of the weights: `model`, `data` and perhaps others, as nested dicts. Keys that this
      version does not have are left out.
    origin: the weights, for the lines.

  Returns:
    The filled config, and a line for each value that changed.
  """
  filled, lines = copy.deepcopy(config), []
  name = sections['model'].get('name')
  for key, value in flat(_nested(sections)).items():
    other = config.model.name != name and is_given(config, 'model.name', given)
    if (
      key not in _DEFAULTS or value is None or (other and key.startswith('model.'))
      or is_given(config, key, given)
    ):
      continue
    *parts, last = key.split('.')
    section = filled
    for part in parts:
      section = section[part]
    value = _typed(_DEFAULTS[key], value)
    if value != section[last]:
      section[last] = value
      lines.append(f'{key}={value}, of {origin}')
  return filled, lines


def _nested(sections: Mapping[str, Any]) -> dict[str, Any]:
  """The sections, with a name alone for the attention written as its kind."""
  model = dict(sections['model'])
  if isinstance(model.get('attention'), str):
    model['attention'] = {'kind': model['attention']}
  return {**sections, 'model': model}


def _typed(default: Any, value: Any) -> Any:
  """A value of JSON as the type of its key: a list becomes a tuple, 1 becomes 1.0."""
  return (default if isinstance(default, type) else type(default))(value)
