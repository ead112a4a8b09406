"""The processes of a sweep's runs: starts them, watches them, reports in lines or a bar."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO

from tqdm.auto import tqdm

from ecanet_jax.cli.sweep.definition import Run
from ecanet_jax.cli.sweep.worker import DONE
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.log import log
from ecanet_jax.runtime.progress import in_notebook
from ecanet_jax.tasks.choice import shown_metrics
from ecanet_jax.training.logging.writers import read_metrics

LOG = 'log.txt'
EVALUATION = 'eval/'  # begins the keys of an evaluation in the lines of metrics.jsonl
_POLL_SECONDS = 0.5
_BUCKET_SECONDS = 15.0  # between two looks at the metrics in a bucket


def train(
  runs: Sequence[Run], workdir: paths.Path, jobs: int, lock: IO[str]
) -> dict[Run, str]:
  """Trains the unfinished runs, `jobs` at a time, and continues if one fails.

  Args:
    runs: of the sweep.
    workdir: of the sweep.
    jobs: processes at a time.
    lock: the lock file; the processes keep it open, so it stays locked until the last one ends.

  Returns:
    The failed runs, with one line each.
  """
  with tempfile.TemporaryDirectory(prefix='ecanet_jax-') as folder, paths.answers(workdir):
    # Nothing can be appended in a bucket: the logs grow here, and are copied at the end of a run.
    logs = pathlib.Path(folder) if paths.is_remote(workdir) else workdir
    return _train(runs, workdir, logs, jobs, lock)


def _train(
  runs: Sequence[Run], workdir: paths.Path, logs: pathlib.Path, jobs: int, lock: IO[str]
) -> dict[Run, str]:
  finished = [run for run in runs if (workdir / run.folder / DONE).exists()]
  waiting = [run for run in runs if run not in finished]
  failed: dict[Run, str] = {}
  active: list[_Process] = []
  board = _Board(runs, finished)
  board.say(f'{len(finished)} of {len(runs)} runs are finished, {jobs} at a time')
  try:
    while waiting or active:
      while waiting and len(active) < jobs:
        active.append(_Process(waiting.pop(0), workdir, logs, lock))
        board.say(active[-1].beginning())
      time.sleep(_POLL_SECONDS)
      for process in list(active):
        ended = process.poll()
        for line in process.news(ended is not None):
          board.say(line)
        if ended is None:
          continue
        active.remove(process)
        if ended:
          failed[process.run] = ended
        board.end(process.run, ended)
      board.show({process.run: process.fraction for process in active})
  finally:
    for process in active:
      process.end()
    board.close()
  return failed


class _Process:
  """The process of one run.

  Attributes:
    run: its run.
    fraction: of the training that is done.
  """

  def __init__(self, run: Run, workdir: paths.Path, logs: pathlib.Path, lock: IO[str]):
    self.run, self.folder, self.fraction = run, workdir / run.folder, 0.0
    self._read, self._told, self._look = 0, self._evaluated(), 0.0
    package = str(pathlib.Path(__file__).parents[3])
    self._log = logs / run.folder / LOG
    self._log.parent.mkdir(parents=True, exist_ok=True)
    if paths.is_remote(workdir) and (self.folder / LOG).exists():
      self._log.write_bytes((self.folder / LOG).read_bytes())
    with self._log.open('a') as output:
      self._process = subprocess.Popen(
        [sys.executable, '-m', 'ecanet_jax.cli.sweep.worker', *run.arguments,
         f'--workdir={self.folder}'],
        stdin=subprocess.PIPE, stdout=output, stderr=output, pass_fds=(lock.fileno(),),
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(
          filter(None, [package, os.environ.get('PYTHONPATH', '')]))},
      )

  def beginning(self) -> str:
    """The line to print at its start."""
    begins = f'goes on after step {self._told}' if self._told else 'begins'
    return f'{self.run.name} {begins}, process {self._process.pid}: {self._log}'

  def _evaluated(self) -> int:
    steps = [line['step'] for line in read_metrics(self.folder) if _evaluation(line)]
    return max(steps, default=0)

  def news(self, ended: bool) -> list[str]:
    """A line for each evaluation since the last call; `ended` = this is the last call."""
    if time.monotonic() < self._look and not ended:
      return []
    path = self.folder / 'metrics.jsonl'
    if paths.is_remote(path):
      self._look = time.monotonic() + _BUCKET_SECONDS
    size = paths.size(path) if path.exists() else 0
    if size == self._read:
      return []
    unit, length = self.run.length
    self._read, done, lines = size, 0.0, []
    for line in read_metrics(self.folder):
      done = line['step'] if unit == 'steps' else line.get('train/epoch', done)
      if (found := _evaluation(line)) and line['step'] > self._told:
        self._told, headline = line['step'], shown_metrics(found)[0]
        lines.append(
          f'{self.run.name}: {done:.4g} of {length:g} {unit}, '
          f'{headline.title} {headline.show(found[headline.name])}'
        )
    self.fraction = min(done / length, 1.0) if length else 0.0
    return lines

  def poll(self) -> str | None:
    """None while it runs, '' if the run is finished, or a line that says why it is not."""
    status = self._process.poll()
    if status is None:
      return None
    self._close()
    if status == 0 and (self.folder / DONE).exists():
      return ''
    if status < 0:
      return f'killed by {signal.Signals(-status).name}'
    lines = self._log.read_text(errors='replace').strip().splitlines()
    return f'status {status}: {lines[-1].removeprefix("error: ") if lines else ""}'

  def end(self) -> None:
    """Kills it; the next start resumes from its checkpoint."""
    with contextlib.suppress(OSError):
      self._process.kill()
    self._process.wait()
    self._close()

  def _close(self) -> None:
    with contextlib.suppress(OSError):
      self._process.stdin.close()
    if paths.is_remote(self.folder):
      try:
        paths.write_whole(self.folder / LOG, self._log.read_bytes())
      except OSError as error:
        log.warning('%s is not in %s: %s', self._log, self.folder, error.strerror)


def _evaluation(line: dict[str, float]) -> dict[str, float]:
  """The metrics of an evaluation in a line of metrics.jsonl; {} for a line of the training."""
  return {
    key.removeprefix(EVALUATION): value for key, value in line.items() if key.startswith(EVALUATION)
  }


class _Board:
  """The report: lines, and on a terminal also a progress bar over all runs."""

  def __init__(self, runs: Sequence[Run], finished: Sequence[Run]):
    self._total, self._ended, self._first = len(runs), len(finished), len(finished)
    self._began = time.monotonic()
    self._bar = tqdm(
      total=len(runs), initial=len(finished), disable=not (sys.stderr.isatty() or in_notebook()),
      dynamic_ncols=True,
      bar_format='{percentage:3.0f} %|{bar}| {n:.2f}/{total} runs, {remaining} left{postfix}',
    )

  def say(self, line: str) -> None:
    """Writes a line above the bar, or to the log."""
    if self._bar.disable:
      log.info('%s', line)
    else:
      self._bar.write(line, file=sys.stderr)

  def end(self, run: Run, problem: str) -> None:
    """Reports the end of a run."""
    self._ended += 1
    left = (time.monotonic() - self._began) / (self._ended - self._first)
    left = round(left * (self._total - self._ended))
    said = f'FAILED, {problem}' if problem else 'is finished'
    self.say(f'{run.name} {said}; {self._ended} of {self._total}, about {left // 3600}:'
             f'{left // 60 % 60:02}:{left % 60:02} left')

  def show(self, fractions: dict[Run, float]) -> None:
    """Moves the bar."""
    if not self._bar.disable:
      self._bar.n = self._ended + sum(fractions.values())
      self._bar.set_postfix_str(', '.join(run.name for run in fractions), refresh=True)

  def close(self) -> None:
    self._bar.close()
