"""The log of this package."""

import logging
import pathlib
import warnings

log = logging.getLogger('ecanet_jax')


def start_log() -> None:
  """Writes the log to standard error; of other libraries it shows only errors."""
  import absl.logging

  absl.logging.set_verbosity(absl.logging.ERROR)
  # A failed save is one line of our log. Orbax's threads would repeat it, each with a traceback.
  absl.logging.get_absl_logger().addFilter(_is_not_of_orbax)
  logging.getLogger('asyncio').setLevel(logging.CRITICAL)
  warnings.filterwarnings('ignore', "coroutine '.*' was never awaited", RuntimeWarning)
  handler = logging.StreamHandler()
  handler.setFormatter(logging.Formatter('%(asctime)s %(message)s', '%H:%M:%S'))
  log.handlers, log.propagate = [handler], False
  log.setLevel(logging.INFO)


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
  return 'orbax' not in pathlib.Path(record.pathname).parts
