"""Progress: a bar on a terminal and in a notebook, plain lines in a log."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable

import jax
from tqdm.auto import tqdm

from ecanet_jax.runtime.log import log


def watched() -> bool:
  """Whether this is the first process and its messages go to a terminal or a notebook."""
  return jax.process_index() == 0 and (sys.stderr.isatty() or in_notebook())


def in_notebook() -> bool:
  """Whether Python runs as the kernel of a notebook."""
  interactive = getattr(sys.modules.get('IPython'), 'get_ipython', lambda: None)()
  return 'IPKernelApp' in getattr(interactive, 'config', ())


def bar(items: Iterable, text: str, unit: str, total: int | None = None) -> tqdm:
  """Iterates with a progress bar; without the bar if nobody watches.

  Args:
    items: to iterate over.
    text: in front of the bar.
    unit: of the items.
    total: how many there are, for items without a length.
  """
  return tqdm(
    items, desc=text, total=total, unit=unit, leave=False, disable=not watched(),
    dynamic_ncols=True,
  )


class Progress:
  """Images per second, share of the time spent waiting for data, time left."""

  def __init__(
    self, start: int, total: int, batch_size: int,
    utilization: Callable[[int, float], dict[str, float]] = lambda step, images_per_second: {},
  ):
    """Begins after step `start` of `total`.

    Args:
      start: last finished step.
      total: steps of the whole training.
      batch_size: images of a step.
      utilization: gives images_per_second_per_chip and mfu of a step and its images per second,
        or some or none of them.
    """
    self.total, self.batch_size, self._utilization = total, batch_size, utilization
    self._step, self._began, self._waited = start, time.monotonic(), 0.0
    self._first = 0.0  # seconds of the first step, until it is reported
    self._untimed = 0  # steps to which the mean time of the next ones is attributed
    self._bar = tqdm(
      total=total, initial=start, desc='training', unit='step', disable=not watched(),
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
      images_per_second, and what `utilization` makes of it; seconds of training, without
      compilation, evaluation and saving; data_wait, a fraction of the time. All seconds in
      metrics.jsonl add up to the time of the whole training, interruptions or not.
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
    use = self._utilization(step, rate) if timed else {}
    left = (self.total - step) * self.batch_size / rate
    self._first = 0.0
    self._step, self._began, self._waited = step, time.monotonic(), 0.0
    line = (
      f'step {step}/{self.total} epoch {epoch:.2f} loss {metrics["loss"]:.4f} '
      f'lr {metrics["lr"]:.5f} {rate:.1f} images/s{_in_words(use)}, '
      f'{100 * wait:.0f} % waiting for data, {_clock(left)} left'
    )
    self.say(line)
    return {'images_per_second': rate, **use, 'seconds': seconds, 'data_wait': wait}

  def say(self, line: str) -> None:
    """Writes a line above the bar, or to the log."""
    if watched():
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


def _in_words(use: dict[str, float]) -> str:
  words = []
  if 'images_per_second_per_chip' in use:
    words.append(f'{use["images_per_second_per_chip"]:.1f} a chip')
  if 'mfu' in use:
    words.append(f'MFU {100 * use["mfu"]:.1f} %')
  return f' ({", ".join(words)})' if words else ''


def _clock(seconds: float) -> str:
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02}:{seconds:02}'
