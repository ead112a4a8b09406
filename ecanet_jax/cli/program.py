"""How train.py and eval.py start and end: a user's mistake is one line and exit status 2."""

import errno
import os
import pathlib
import sys
from collections.abc import Callable, Sequence

from absl import app, flags
from ml_collections import config_dict, config_flags

from ecanet_jax.runtime.errors import MISTAKE, RESUME, Interrupted, UserError, closest
from ecanet_jax.runtime.log import start_log

# A disk that is full or may not be used: nothing that a traceback could tell.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
# What absl and ml_collections raise while they read a config file and its overrides; a config file
# is code and can raise anything.
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
  except OSError as error:
    if error.errno not in _DISK:
      raise
    return _mistake(f'{error.filename or "a file"} cannot be written or read: {error.strerror}.')
  except Interrupted as end:
    _fail(end)
    return _end(RESUME)
  except KeyboardInterrupt:
    return _fail('interrupted; the same command goes on from the last checkpoint.', 130)
  except SystemExit as end:
    return end.code if isinstance(end.code, int) else int(end.code is not None)
  return 0


def load_config(path: str, overrides: Sequence[str] = ()) -> config_dict.ConfigDict:
  """A config file with overrides, read as the programs' own flags are.

  Args:
    path: of the file.
    overrides: `--config.KEY=VALUE`.

  Raises:
    UserError: there is no such file or key, or a value of another type.
  """
  arguments = ['', f'--config={path}', *overrides]
  # ml_collections loads every file as this module; one would keep the names of the one before.
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
  """What a config file gave; the first look at it raises what went wrong while it was loaded."""
  if value is not None:
    list(value)
  if not isinstance(value, config_dict.ConfigDict):
    raise UserError(f'get_config() of the config file returned {value!r:.50}, not a ConfigDict.')
  return value


def _explain(error: Exception, arguments: Sequence[str]) -> str:
  """One line for what absl and ml_collections raise: a key, a value, or a file that is missing."""
  from ecanet_jax.config import schema

  known = [key.name for key in schema.KEYS]
  for argument in arguments:
    name, has_value, value = argument.lstrip('-').partition('=')
    # A config can take an argument: --config=configs/transfer.py:cars196.
    value = value.partition(':')[0] if name == 'config' else value
    if name == 'config' and has_value and not pathlib.Path(value).is_file():
      files = [str(path) for path in sorted(pathlib.Path('configs').glob('[!_]*.py'))]
      return f'no config file {value!r}.{closest(value, files)} Known: {", ".join(files)}.'
    if name.startswith('config.') and name.removeprefix('config.') not in known:
      key = name.removeprefix('config.')
      if moved := schema.moved(key):
        return moved
      same_end = [k for k in known if k.split('.')[-1] == key.split('.')[-1]]
      near = closest(key, same_end, cutoff=0.0) or closest(key, known)
      return f'unknown config key {key!r}.{near} ecanet_jax/config/schema.py has them all.'
  text = ' '.join(str(error.args[0] if error.args else error).split())
  text = text.removeprefix('flag --config=None: ')
  for old in schema.MOVED_KEYS:  # assigned by the config file
    if isinstance(error, AttributeError) and f'"{old.rpartition(".")[2]}"' in text:
      return schema.moved(old)
  return text if isinstance(error, _MISTAKES) and text else f'{type(error).__name__}: {text}'


def _end(status: int) -> int:
  """Ends this process now: threads that are still at work, and other processes, do not hold it up.
  """
  from ecanet_jax.runtime import distributed

  distributed.stop_processes(failed=status != RESUME)
  for stream in (sys.stdout, sys.stderr):
    stream.flush()
  os._exit(status)


def _is_one_of_several() -> bool:
  if 'jax' not in sys.modules:
    return False  # a mistake on the command line, before anything was imported
  from ecanet_jax.runtime import distributed

  return distributed.is_one_of_several()


def _mistake(text) -> int:
  status = _fail(text)
  return _end(status) if _is_one_of_several() else status


def _fail(text, status: int = MISTAKE) -> int:
  print(f'error: {text}', file=sys.stderr, flush=True)
  return status
