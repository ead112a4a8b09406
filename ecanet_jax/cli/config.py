"""The config of a command: a recipe, or that of a training, with the overrides of the user."""

import sys
from collections.abc import Callable, Sequence

from absl import flags
from ml_collections import config_dict, config_flags

from ecanet_jax.cli.arguments import keys_of
from ecanet_jax.config import recipes, schema, stored
from ecanet_jax.config.other_names import advice
from ecanet_jax.runtime.errors import UserError

# Errors of absl and ml_collections for a wrong override. Other exceptions come from the config
# file's own code; their message names the type.
_MISTAKES = (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError)


def load_config(path: str, overrides: Sequence[str] = ()) -> config_dict.ConfigDict:
  """A config file with overrides.

  Args:
    path: of the file, or the name of a recipe; see `recipes.find`.
    overrides: `--config.KEY=VALUE`; =None unsets an optional key.

  Raises:
    UserError: no such file or key, or a value of another type.
  """
  # ml_collections loads every config file as this module; forget that of the last call.
  sys.modules.pop('config_config', None)
  argument = f'--config={recipes.find(path)}'
  return _load(config_flags.DEFINE_config_file, None, argument, overrides, path)


def load_stored_config(workdir: str, overrides: Sequence[str] = ()) -> config_dict.ConfigDict:
  """The config of the training in `workdir`, with overrides as in `load_config`.

  Raises:
    UserError: there is no training, or an override has no such key or type.
  """
  config = stored.read_config(workdir)
  return _load(config_flags.DEFINE_config_dict, config, '', overrides, f'the config of {workdir}')


def _load(
  define: Callable, default, argument: str, overrides: Sequence[str], where: str
) -> config_dict.ConfigDict:
  """Applies the overrides by ml_collections' flag `--config`; `where` names the config."""
  unset, others = _unset(overrides)
  arguments = ['', *filter(None, [argument]), *others]
  values = flags.FlagValues()
  try:
    config = define('config', default, flag_values=values, lock_config=True, sys_argv=arguments)
    values(arguments)
    loaded = config.value
    hasattr(loaded, 'keys')  # raises what went wrong while the file was read
  except UserError:
    raise
  except Exception as error:
    raise UserError(_explain(error, others, where)) from error
  if not isinstance(loaded, config_dict.ConfigDict):
    raise UserError(f'{where}: get_config() returned {loaded!r:.50}, not a ConfigDict.')
  loaded.update_from_flattened_dict(dict.fromkeys(unset))
  return loaded


def _unset(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
  """The keys that `--config.KEY=None` unsets, and the overrides that give a value."""
  defaults = {key.name: key.default for key in schema.KEYS}
  others, last = [], {}
  for text in overrides:
    key, value = text.removeprefix('--config.').split('=', 1)
    last[key] = value
    if value != 'None' or key not in defaults:
      others.append(text)
    elif not isinstance(defaults[key], type):
      raise UserError(
        f'--config.{key}=None: {key} must have a value; its default is --config.{key}='
        f'{defaults[key]}'
      )
  return [key for key, value in last.items() if value == 'None' and key in defaults], others


def _explain(error: Exception, overrides: Sequence[str], where: str) -> str:
  """The error line for a wrong override, or for a config file that fails."""
  known = [key.name for key in schema.KEYS]
  for key in keys_of(overrides):
    if key in known:
      continue
    if moved := schema.moved(key):
      return moved
    near = advice(key, known)
    return f'unknown config key {key!r}.{near} ecanet_jax/config/schema.py has them all.'
  text = str(error.args[0] if error.args else error).removeprefix('flag --config=None: ')
  for old in schema.MOVED_KEYS:  # assigned by the config file
    if f'Key "{old.rpartition(".")[2]}" does not exist' in text:
      return schema.moved(old)
  if '\nTraceback ' in f'\n{text}' or ': Traceback ' in text:  # of the config file's own code
    last = text.strip().splitlines()[-1].strip()
    return f'{where}: {last.removeprefix(f"{UserError.__module__}.UserError: ")}'
  text = ' '.join(text.split())
  if isinstance(error, _MISTAKES) and text:
    return text
  line = f', line {error.lineno}' if isinstance(error, SyntaxError) else ''
  return f'{where}{line}: {type(error).__name__}: {text}'
