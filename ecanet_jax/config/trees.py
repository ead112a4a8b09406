"""A config as plain values: nested, flat, compared and hashed."""

import json
from collections.abc import Mapping
from typing import Any

from ecanet_jax.checkpoints.integrity import json_sha256


def plain(config) -> dict[str, Any]:
  """A config as nested dicts, with lists for tuples as in JSON."""
  return json.loads(config.to_json())


def flat(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """Flattens nested dicts to one dict with dotted keys."""
  found = {}
  for key, value in tree.items():
    nested = isinstance(value, Mapping)
    found |= flat(value, f'{prefix}{key}.') if nested else {prefix + key: value}
  return found


def value_of(config: Mapping[str, Any], name: str) -> Any:
  """The value of a dotted key."""
  for part in name.split('.'):
    config = config[part]
  return config


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple]:
  """Dotted keys whose values differ, with both values; None for a missing one."""
  old, new = flat(old), flat(new)
  return {
    key: (old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)
  }


def config_hash(config: Mapping[str, Any]) -> str:
  """Twelve hexadecimal digits that identify a plain config."""
  return json_sha256(config)[:12]
