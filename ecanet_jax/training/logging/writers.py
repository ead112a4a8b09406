"""metrics.jsonl, one JSON object per line; the same figures go to TensorBoard."""

import contextlib
import errno
import json
import os
import pathlib
from typing import Any

import jax

from ecanet_jax.runtime.log import log


class MetricsWriter:
  """Appends figures by step; only the first process writes.

  A resumed training first removes the lines after its step, so that the file reads as if there had
  been no interruption. If the disk is full, lines wait for the next write.
  """

  def __init__(self, workdir: pathlib.Path, start_step: int, tensorboard: bool):
    self._file, self._events, self._late = None, None, []
    if jax.process_index() > 0:
      return
    path = workdir / 'metrics.jsonl'
    kept = [line for line in read_metrics(workdir) if line['step'] <= start_step]
    temporary = path.with_suffix('.tmp')
    temporary.write_text(''.join(json.dumps(line) + '\n' for line in kept))
    os.replace(temporary, path)
    self._file = path.open('ab', buffering=0)
    if tensorboard:
      from ecanet_jax.training.logging.tensorboard import Events

      self._events = Events(workdir, start_step)

  def write(self, step: int, prefix: str, figures: dict[str, float]) -> None:
    """Writes `{prefix}/{name}` for each figure at a step."""
    if self._file is None:
      return
    named = {f'{prefix}/{name}': value for name, value in figures.items()}
    self._late.append(json.dumps({'step': step, **named}) + '\n')
    try:
      self._append()
      if self._events:
        self._events.write(step, named)
    except OSError as error:
      log.warning('the metrics of step %d are not written yet: %s', step, error.strerror)

  def _append(self) -> None:
    """Writes all waiting lines, or none."""
    end, text = self._file.seek(0, os.SEEK_END), ''.join(self._late).encode()
    try:
      if self._file.write(text) < len(text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
      self._file.truncate(end)
      raise
    self._late = []

  def close(self) -> None:
    for file in (self._file, self._events):
      with contextlib.suppress(OSError):
        if file is not None:
          file.close()


def read_metrics(workdir: pathlib.Path) -> list[dict[str, Any]]:
  """The lines of a training's metrics.jsonl, except a last line cut off by a kill."""
  path = pathlib.Path(workdir) / 'metrics.jsonl'
  lines = []
  if path.exists():
    for text in path.read_text().splitlines():
      try:
        lines.append(json.loads(text))
      except json.JSONDecodeError:
        break
  return lines
