"""Start and end of train.py and eval.py: a mistake of the user is one line and exit status 2."""

import argparse
import difflib
import errno
import os
import pathlib
import sys
from collections.abc import Callable, Sequence

from absl import app, flags
from ml_collections import config_dict, config_flags

from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import MISTAKE, RESUME, Interrupted, UserError, closest
from ecanet_jax.runtime.log import start_log

# Errors of a full or read-only disk, for which a traceback would not help the user.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
# Errors of absl and ml_collections for a wrong flag or override. Other exceptions come from the
# config file's own code; their message names the type.
_MISTAKES = (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError)


def run_program(main: Callable[[], None], config: flags.FlagHolder) -> int:
  """Parses the flags, runs an absl program and returns its exit status.

  Args:
    main: called without arguments once the flags are parsed.
    config: the flag `--config`.
  """

  def parse(arguments: Sequence[str]) -> list[str]:
    try:
      rest = flags.FLAGS(arguments)
      keys = list(_config(config.value))
    except UserError:
      raise
    except Exception as error:
      raise UserError(_explain(error, arguments)) from error
    if len(rest) > 1 or not keys:
      raise UserError(f'unexpected argument {rest[1:]}; write --config.KEY=VALUE.')
    return rest

  start_log()
  try:
    app.run(lambda _: main(), flags_parser=parse)
  except UserError as error:
    return _mistake(error)
  except paths.StoreError as error:
    return _mistake(f'{error.filename} cannot be written or read: {error.strerror}.')
  except OSError as error:
    if error.errno not in _DISK:
      raise
    return _mistake(f'{error.filename or "a file"} cannot be written or read: {error.strerror}.')
  except Interrupted as end:
    _fail(end)
    return _end(RESUME)
  except KeyboardInterrupt:
    return _fail('interrupted; the same command resumes from the last checkpoint.', 130)
  except SystemExit as end:
    return end.code if isinstance(end.code, int) else int(end.code is not None)
  return 0


def parse_overrides(
  parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> argparse.Namespace:
  """Parses a command's arguments; `overrides` are those that begin with --config. and a key.

  Raises:
    UserError: an unknown argument, or a key without a value.
  """
  args, others = parser.parse_known_args(arguments)
  known = [f'--{name}' for name in vars(args)]
  for text in others:
    name, has_value, _ = text.partition('=')
    if not name.startswith('--config.'):
      raise UserError(f'unexpected argument {text!r}.{closest(name, known)}')
    if not has_value:
      raise UserError(f'{text!r} has no value; write {name}=VALUE.')
  args.overrides = others
  return args


def load_config(path: str, overrides: Sequence[str] = ()) -> config_dict.ConfigDict:
  """A config file with overrides, read like the programs' own flags.

  Args:
    path: of the file.
    overrides: `--config.KEY=VALUE`.

  Raises:
    UserError: no such file or key, or a value of another type.
  """
  arguments = ['', f'--config={path}', *overrides]
  # ml_collections loads every config file as this module; forget that of the last call.
  sys.modules.pop('config_config', None)
  values = flags.FlagValues()
  config = config_flags.DEFINE_config_file(
    'config', None, flag_values=values, lock_config=True, sys_argv=arguments
  )
  try:
    values(arguments)
    return _config(config.value)
  except UserError:
    raise
  except Exception as error:
    raise UserError(_explain(error, arguments)) from error


def _config(value) -> config_dict.ConfigDict:
  """The loaded config; raises what went wrong while the file was loaded."""
  if value is not None:
    list(value)
  if not isinstance(value, config_dict.ConfigDict):
    raise UserError(f'get_config() of the config file returned {value!r:.50}, not a ConfigDict.')
  return value


def _explain(error: Exception, arguments: Sequence[str]) -> str:
  """The error line for wrong arguments: an unknown key, a wrong value, a missing file."""
  from ecanet_jax.config import schema

  known = [key.name for key in schema.KEYS]
  for argument in arguments:
    name, has_value, value = argument.lstrip('-').partition('=')
    # A config can take an argument: --config=configs/transfer.py:cars196.
    value = value.partition(':')[0] if name == 'config' else value
    if name == 'config' and has_value and not pathlib.Path(value).is_file():
      return _no_recipe(value)
    if name.startswith('config.') and name.removeprefix('config.') not in known:
      key = name.removeprefix('config.')
      if moved := schema.moved(key):
        return moved
      same_end = [k for k in known if k.split('.')[-1] == key.split('.')[-1]]
      near = closest(key, same_end, cutoff=0.0) or closest(key, known)
      return f'unknown config key {key!r}.{near} ecanet_jax/config/schema.py has them all.'
  text = str(error.args[0] if error.args else error).removeprefix('flag --config=None: ')
  for old in schema.MOVED_KEYS:  # assigned by the config file
    if f'Key "{old.rpartition(".")[2]}" does not exist' in text:
      return schema.moved(old)
  if '\nTraceback ' in f'\n{text}' or ': Traceback ' in text:  # of the config file's own code
    return f'{_config_file(arguments)}: {text.strip().splitlines()[-1].strip()}'
  text = ' '.join(text.split())
  if isinstance(error, _MISTAKES) and text:
    return text
  where = f', line {error.lineno}' if isinstance(error, SyntaxError) else ''
  return f'{_config_file(arguments)}{where}: {type(error).__name__}: {text}'


def _config_file(arguments: Sequence[str]) -> str:
  """The value of --config."""
  values = [text.partition('=')[2] for text in arguments if text.lstrip('-').startswith('config=')]
  return values[-1] if values else 'the command line'


def _no_recipe(path: str) -> str:
  """The error line for a missing config file, with the path of the nearest recipe."""
  from ecanet_jax.config import recipes

  here, folder = pathlib.Path.cwd(), recipes.folder()
  folder = folder.relative_to(here) if folder.is_relative_to(here) else folder
  names = {f'{name}.py': str(folder / f'{name}.py') for name in recipes.names()}
  near = difflib.get_close_matches(pathlib.Path(path).name, names, n=1, cutoff=0.5)
  hint = f' Did you mean {names[near[0]]!r}?' if near else ''
  return f'no config file {path!r}.{hint} Known in {folder}: {", ".join(names)}.'


def _end(status: int) -> int:
  """Ends this process at once, without waiting for threads or other processes."""
  from ecanet_jax.runtime import distributed

  distributed.stop_processes(failed=status != RESUME)
  for stream in (sys.stdout, sys.stderr):
    stream.flush()
  os._exit(status)


def _is_one_of_several() -> bool:
  if 'jax' not in sys.modules:
    return False  # JAX has not started, so no other process waits
  from ecanet_jax.runtime import distributed

  return distributed.is_one_of_several()


def _mistake(text) -> int:
  status = _fail(text)
  return _end(status) if _is_one_of_several() else status


def _fail(text, status: int = MISTAKE) -> int:
  print(f'error: {text}', file=sys.stderr, flush=True)
  return status
