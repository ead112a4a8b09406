"""The log of this package."""

import logging
import pathlib
import warnings

log = logging.getLogger('ecanet_jax')


def start_log_once() -> None:
  """`start_log`, unless the logger 'ecanet_jax' has a handler or a level already."""
  if not log.handlers and log.level == logging.NOTSET:
    start_log()


def start_log() -> None:
  """Writes the log to standard error; of other libraries it shows only errors."""
  import absl.logging

  absl.logging.set_verbosity(absl.logging.ERROR)
  silence_orbax()
  logging.getLogger('asyncio').setLevel(logging.CRITICAL)
  warnings.filterwarnings('ignore', "coroutine '.*' was never awaited", RuntimeWarning)
  handler = logging.StreamHandler()
  handler.setFormatter(logging.Formatter('%(asctime)s %(message)s', '%H:%M:%S'))
  log.handlers, log.propagate = [handler], False
  log.setLevel(logging.INFO)


def silence_orbax() -> None:
  """Keeps Orbax's messages out of absl's log.

  A failed save or restore is one line of ours; Orbax's threads would repeat it, each with a
  traceback. Its warnings are of options that we choose.
  """
  import absl.logging

  absl.logging.get_absl_logger().addFilter(_is_not_of_orbax)


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
  return 'orbax' not in pathlib.Path(record.pathname).parts
