"""Ends a process that makes no progress, so that it can be started again."""

import faulthandler
import os
import sys
import threading
from collections.abc import Callable

import jax

from ecanet_jax.runtime import distributed
from ecanet_jax.runtime.errors import PEER_LOST

LOOKS = 20  # fewest checks of the counter within the time limit; at least one per second
PREFIX = 'ecanet_jax/progress/'


class Watchdog:
  """A thread that ends the process if a counter stands still for too long.

  Time is measured in checks, not by the clock, so that a process that was suspended (SIGSTOP) gets
  its full time again. Every process publishes its phase and step; the one that ends prints all.
  """

  def __init__(self, seconds: float, progress: Callable[[], tuple[int, int, str]]):
    """Starts the thread.

    Args:
      seconds: time without progress after which the process ends with status 76.
      progress: returns (counter, last finished step, phase).
    """
    self._seconds, self._progress = seconds, progress
    self._stopped = threading.Event()
    self._rank, self._processes = jax.process_index(), jax.process_count()
    threading.Thread(target=self._watch, name='watchdog', daemon=True).start()

  def stop(self) -> None:
    self._stopped.set()

  def _watch(self) -> None:
    interval = min(1.0, self._seconds / LOOKS)
    before, looks = None, 0
    while not self._stopped.wait(interval):
      now = self._progress()
      self._publish(now)
      looks = looks + 1 if now == before else 0
      before = now
      if looks * interval >= self._seconds:
        self._end(*now[1:])

  def _publish(self, progress: tuple[int, int, str]) -> None:
    _, step, phase = progress
    distributed.publish(f'{PREFIX}{self._rank}', f'phase {phase!r} after step {step}')

  def _end(self, step: int, phase: str) -> None:
    faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
    others = ''.join(
      f'; process {key.removeprefix(PREFIX)}: {where}'
      for key, where in distributed.published(PREFIX) if key != f'{PREFIX}{self._rank}'
    )
    print(
      f'error: process {self._rank} of {self._processes}: no progress for {self._seconds:g} s '
      f'(watchdog_seconds) in phase {phase!r} after step {step}{others}. The stacks of all its '
      'threads are above; the same command resumes from the last checkpoint.',
      file=sys.stderr, flush=True,
    )
    os._exit(PEER_LOST)
