"""The log of this package, and what of it a program shows."""

import logging
import pathlib
import warnings

log = logging.getLogger('ecanet_jax')


def start_log() -> None:
  """Sends our own lines to standard error, and of the libraries' lines the errors alone."""
  import absl.logging

  absl.logging.set_verbosity(absl.logging.ERROR)
  # A save that fails is a line of ours. Orbax's threads would say it again, each with its stack.
  absl.logging.get_absl_logger().addFilter(_is_not_of_orbax)
  logging.getLogger('asyncio').setLevel(logging.CRITICAL)
  warnings.filterwarnings('ignore', "coroutine '.*' was never awaited", RuntimeWarning)
  handler = logging.StreamHandler()
  handler.setFormatter(logging.Formatter('%(asctime)s %(message)s', '%H:%M:%S'))
  log.handlers, log.propagate = [handler], False
  log.setLevel(logging.INFO)


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
  return 'orbax' not in pathlib.Path(record.pathname).parts
