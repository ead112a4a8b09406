"""metrics.jsonl, one JSON object per line; the same figures go to TensorBoard."""

import contextlib
import errno
import json
import os
import pathlib
import tempfile
import time
from typing import Any

import jax

from ecanet_jax.runtime import paths
from ecanet_jax.runtime.log import log

PUBLISH_S = 60.0  # seconds after which lines in a bucket are late


class MetricsWriter:
  """Appends figures by step; only the first process writes.

  A resumed training first removes the lines after its step, so that the file reads as if there had
  been no interruption. If the disk is full, lines wait for the next write.

  Nothing can be appended in a bucket. The files of a workdir there grow in a temporary directory,
  and `publish` writes them whole.
  """

  def __init__(self, workdir: paths.Path, start_step: int, tensorboard: bool):
    self._file, self._events, self._late, self._copy = None, None, [], None
    if jax.process_index() > 0:
      return
    kept = [line for line in read_metrics(workdir) if line['step'] <= start_step]
    self._workdir = self._folder = workdir
    if paths.is_remote(workdir):
      self._copy = tempfile.TemporaryDirectory(prefix='ecanet_jax-')
      self._folder = pathlib.Path(self._copy.name)
    self._published = time.monotonic()
    path = self._folder / 'metrics.jsonl'
    paths.write_whole(path, ''.join(json.dumps(line) + '\n' for line in kept))
    self._file = path.open('ab', buffering=0)
    if tensorboard:
      from ecanet_jax.training.logging.tensorboard import Events

      self._events = Events(self._folder, start_step)

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
    if time.monotonic() - self._published > PUBLISH_S:
      self.publish()

  def publish(self) -> None:
    """Writes the files to the bucket, if the workdir is in one; a failure is a warning."""
    if self._copy is None:
      return
    self._published = time.monotonic()
    try:
      if self._events:
        self._events.flush()
      for path in paths.files_below(self._folder):
        name = path.relative_to(self._folder).as_posix()
        paths.write_whole(self._workdir / name, path.read_bytes())
    except OSError as error:
      log.warning('the metrics are not in %s yet: %s', self._workdir, error.strerror)

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
    """Closes the files; those of a bucket are published first."""
    self.publish()
    for file in (self._file, self._events):
      with contextlib.suppress(OSError):
        if file is not None:
          file.close()
    if self._copy is not None:
      self._copy.cleanup()


def read_metrics(workdir: str | os.PathLike) -> list[dict[str, Any]]:
  """The lines of a training's metrics.jsonl, except a last line cut off by a kill."""
  path, lines = paths.to_path(workdir) / 'metrics.jsonl', []
  with paths.answers(path):
    texts = path.read_text().splitlines() if path.exists() else []
  for text in texts:
    try:
      lines.append(json.loads(text))
    except json.JSONDecodeError:
      break
  return lines
