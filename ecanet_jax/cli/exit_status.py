"""The exit status of a command, and the line for what ended it."""

import errno
import os
import sys
from collections.abc import Callable

from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import MISTAKE, RESUME, Interrupted, UserError

# Errors of a full or read-only disk, for which a traceback would not help the user.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


def exit_status(command: Callable[[], int], *, resumes: bool = False) -> int:
  """Runs a command and returns its exit status; a mistake of the user is one line and status 2.

  docs/operation.md has the table of the statuses.

  Args:
    command: returns the status of a command that came to its end.
    resumes: the same command goes on from a checkpoint. Only then an error of a file is a
      traceback, unless the disk is full or read-only: it is no mistake in the command.
  """
  try:
    return command()
  except UserError as error:
    return _mistake(error)
  except paths.StoreError as error:
    return _mistake(f'{error.filename} cannot be written or read: {error.strerror}.')
  except BrokenPipeError:
    return 1
  except OSError as error:
    if error.errno not in _DISK and (resumes or not error.filename):
      raise
    return _mistake(f'{error.filename or "a file"} cannot be written or read: {error.strerror}.')
  except Interrupted as end:
    _say(end)
    return _end(RESUME)
  except KeyboardInterrupt:
    _say('interrupted; the same command resumes from the last checkpoint.' if resumes
         else 'interrupted.')
    return 130


def _mistake(text) -> int:
  _say(text)
  return _end(MISTAKE) if _is_one_of_several() else MISTAKE


def _say(text) -> None:
  print(f'error: {text}', file=sys.stderr, flush=True)


def _is_one_of_several() -> bool:
  if 'jax' not in sys.modules:
    return False  # JAX has not started, so no other process waits
  from ecanet_jax.runtime import distributed

  return distributed.is_one_of_several()


def _end(status: int) -> int:
  """Ends this process at once, without waiting for threads or other processes."""
  from ecanet_jax.runtime import distributed

  distributed.stop_processes(failed=status != RESUME)
  for stream in (sys.stdout, sys.stderr):
    stream.flush()
  os._exit(status)
