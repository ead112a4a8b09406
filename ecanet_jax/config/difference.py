"""Compares the config of a training with that of the checkpoint from which it resumes."""

from collections.abc import Mapping
from typing import Any

from ecanet_jax.config.schema import KEYS, get_config
from ecanet_jax.config.trees import config_hash, differences, flat, plain
from ecanet_jax.runtime.log import log

# Keys that do not change the result, only when or how it is computed.
HARMLESS = (
  'ops.', 'data.data_dir', 'data.csv', 'data.decode_threads', 'data.resident', 'data.max_bad',
  'data.accept_changes', 'log_steps', 'eval_epochs', 'save_epochs', 'keep_checkpoints',
  'tensorboard', 'export', 'bad_steps', 'watchdog_seconds', 'init.', 'profile.', 'trackers',
)
WIDTH = 34  # characters of a column


def compare(old: dict[str, Any], new: dict[str, Any]) -> None:
  """Warns of changes since the checkpoint, in two columns.

  Keys of the checkpoint that this version does not have are only listed. Keys that an older
  version did not have count as their defaults.
  """
  known = {key.name for key in KEYS}
  unknown = [key for key in flat(old) if key not in known]
  if unknown:
    log.info("keys of the checkpoint's config that this version ignores: %s", ', '.join(unknown))
  found = differences(completed(old), new)
  changed = {key: pair for key, pair in found.items() if key not in unknown}
  if not changed:
    return
  rows = [('', f'checkpoint {config_hash(old)}', f'now {config_hash(new)}')]
  rows += [(key, as_text(before), as_text(now)) for key, (before, now) in sorted(changed.items())]
  width = max(len(key) for key, _, _ in rows)
  lines = [f'  {key:<{width}}  {before:<{WIDTH}} | {now}' for key, before, now in rows]
  others = [key for key in changed if not key.startswith(HARMLESS)]
  ending = (
    'the result is not that of one training with either config' if others
    else 'none of these keys changes the result'
  )
  log.warning("the config is not the checkpoint's:\n%s\n%s", '\n'.join(lines), ending)


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
  """A plain config, flat, with the defaults of the keys that the version it is from lacked."""
  return {**flat(plain(get_config())), **flat(config)}


def as_text(value) -> str:
  """A value for a message; 'not set' for None."""
  return 'not set' if value is None else str(value)
