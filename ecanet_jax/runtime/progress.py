"""Progress: a bar on a terminal, plain lines in a log."""

import contextlib
import sys
import time
from collections.abc import Iterable

import jax
import tqdm

from ecanet_jax.runtime.log import log


def on_terminal() -> bool:
  """Whether this is the first process and its messages go to a terminal."""
  return jax.process_index() == 0 and sys.stderr.isatty()


def bar(items: Iterable, text: str, unit: str) -> tqdm.tqdm:
  """Iterates with a progress bar; without the bar if standard error is no terminal."""
  return tqdm.tqdm(
    items, desc=text, unit=unit, leave=False, disable=not on_terminal(), dynamic_ncols=True
  )


class Progress:
  """Images per second, share of the time spent waiting for data, time left."""

  def __init__(self, start: int, total: int, batch_size: int):
    self.total, self.batch_size = total, batch_size
    self._step, self._began, self._waited = start, time.monotonic(), 0.0
    self._first = 0.0  # seconds of the first step, until it is reported
    self._untimed = 0  # steps to which the mean time of the next ones is attributed
    self._bar = tqdm.tqdm(
      total=total, initial=start, desc='training', unit='step', disable=not on_terminal(),
      dynamic_ncols=True,
    )

  @contextlib.contextmanager
  def waiting(self):
    """Counts the time inside as waiting for data."""
    began = time.monotonic()
    yield
    self._waited += time.monotonic() - began

  def compiled(self) -> None:
    """Call it after the first step, which compiles; its time is replaced by a step's mean time."""
    self._first, self._untimed = max(time.monotonic() - self._began, 1e-9), 1
    self._began, self._waited = time.monotonic(), 0.0

  def advance(self) -> None:
    """Counts one dispatched step."""
    self._bar.update(1)

  def report(self, step: int, epoch: float, metrics: dict[str, float]) -> dict[str, float]:
    """Writes the line for the steps since the last report, and returns its figures.

    Args:
      step: last finished step.
      epoch: passes over the training split so far.
      metrics: loss and lr.

    Returns:
      images_per_second; seconds of training, without compilation, evaluation and saving; data_wait,
      a fraction of the time. All seconds in metrics.jsonl add up to the time of the whole training,
      interruptions or not.
    """
    elapsed = max(time.monotonic() - self._began, 1e-9)
    timed = step - self._step - bool(self._first)
    wait = min(self._waited / elapsed, 1.0)
    if timed:
      rate = timed * self.batch_size / elapsed
      seconds = elapsed * (timed + self._untimed) / timed
      self._untimed = 0
    else:  # only the first step; the next report has its seconds
      rate, seconds = self.batch_size / self._first, 0.0
    left = (self.total - step) * self.batch_size / rate
    self._first = 0.0
    self._step, self._began, self._waited = step, time.monotonic(), 0.0
    line = (
      f'step {step}/{self.total} epoch {epoch:.2f} loss {metrics["loss"]:.4f} '
      f'lr {metrics["lr"]:.5f} {rate:.1f} images/s, {100 * wait:.0f} % waiting for data, '
      f'{_clock(left)} left'
    )
    self.say(line)
    return {'images_per_second': rate, 'seconds': seconds, 'data_wait': wait}

  def say(self, line: str) -> None:
    """Writes a line above the bar, or to the log."""
    if on_terminal():
      self._bar.write(line, file=sys.stderr)
    else:
      log.info('%s', line)

  @contextlib.contextmanager
  def paused(self):
    """Excludes the time inside (an evaluation, a save) from the training time."""
    began = time.monotonic()
    yield
    self._began += time.monotonic() - began

  def close(self) -> None:
    self._bar.close()


def _clock(seconds: float) -> str:
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02}:{seconds:02}'
