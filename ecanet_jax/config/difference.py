"""A config against the one of the checkpoint that a training goes on from."""

import json
from collections.abc import Mapping
from typing import Any

from ecanet_jax.checkpoints import integrity
from ecanet_jax.models import create_from_config
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.progress import log
from ecanet_jax.training.pretrained_init import other_fields

# Keys that change when something happens or how it is computed, but no result.
HARMLESS = (
  'ops.', 'data.data_dir', 'data.decode_threads', 'data.resident', 'data.max_bad', 'log_steps',
  'eval_epochs', 'save_epochs', 'keep_checkpoints', 'tensorboard', 'export', 'bad_steps',
  'watchdog_seconds', 'init.',
)
WIDTH = 34  # characters of a column


def plain(config) -> dict[str, Any]:
  """A config as nested dicts, with lists for tuples, as JSON gives it back."""
  return json.loads(config.to_json())


def config_hash(config: dict[str, Any]) -> str:
  """Twelve hexadecimal digits that name a plain config."""
  return integrity.json_sha256(config)[:12]


def flat(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """Nested dicts as one with dotted keys."""
  found = {}
  for key, value in tree.items():
    inside = isinstance(value, Mapping)
    found |= flat(value, f'{prefix}{key}.') if inside else {prefix + key: value}
  return found


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple]:
  """Dotted keys whose values differ, with both values."""
  old, new = flat(old), flat(new)
  return {
    key: (old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)
  }


def compare(old: dict[str, Any], new: dict[str, Any]) -> None:
  """Writes what changed since the checkpoint to the log, two columns, in one warning."""
  if not (changed := differences(old, new)):
    return
  rows = [('', f'checkpoint {config_hash(old)}', f'now {config_hash(new)}')]
  rows += [(key, _text(before), _text(after)) for key, (before, after) in sorted(changed.items())]
  width = max(len(key) for key, _, _ in rows)
  lines = [f'  {key:<{width}}  {before:<{WIDTH}} | {after}' for key, before, after in rows]
  others = [key for key in sorted(changed) if not key.startswith(HARMLESS)]
  ending = (
    'the result is not that of one training with either config' if others
    else 'none of these keys changes the result'
  )
  log.warning('the config is not the checkpoint\'s:\n%s\n%s', '\n'.join(lines), ending)


def check(where, old: dict[str, Any], new: dict[str, Any], model) -> None:
  """Refuses to go on with another network or optimizer whose arrays happen to be the same.

  Args:
    where: the checkpoint, for the message.
    old: its config.
    new: the config now.
    model: the network now.

  Raises:
    UserError: with each value of the checkpoint and now.
  """
  changed = {}
  if differences(old['model'], new['model']):
    theirs = _network(old['model'])
    other = other_fields(theirs, model) if theirs else {}
    changed = {f'model.{key}': pair for key, pair in other.items()}
  names = old['optimizer']['name'], new['optimizer']['name']
  if names[0] != names[1]:
    changed['optimizer.name'] = names
  if changed:
    listed = '; '.join(f'{key} {_text(a)} | {_text(b)}' for key, (a, b) in changed.items())
    raise UserError(
      f'{where} cannot be gone on from with this config (checkpoint | now): {listed}. Train with '
      'its config, or give another --workdir, and --config.init.weights to start from its weights.'
    )


def _network(section: dict[str, Any]):
  try:
    return create_from_config(section)
  except UserError:  # of another version of this program: the arrays alone can tell
    return None


def _text(value) -> str:
  return 'not set' if value is None else str(value)
