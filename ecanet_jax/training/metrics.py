"""metrics.jsonl, one JSON object a line, and the same figures for TensorBoard."""

import json
import os
import pathlib
from typing import Any

import jax
import tensorboardX


class MetricsWriter:
  """Appends figures by step; only the first process writes.

  A resumed training drops the lines past the step that it resumes from, so that the file reads
  as if there had been no interruption.
  """

  def __init__(self, workdir: pathlib.Path, start_step: int, tensorboard: bool):
    self._file, self._events = None, None
    if jax.process_index() > 0:
      return
    path = workdir / 'metrics.jsonl'
    kept = [line for line in read_metrics(workdir) if line['step'] <= start_step]
    temporary = path.with_suffix('.tmp')
    temporary.write_text(''.join(json.dumps(line) + '\n' for line in kept))
    os.replace(temporary, path)
    self._file = path.open('a', buffering=1)
    if tensorboard:
      self._events = tensorboardX.SummaryWriter(
        str(workdir / 'tensorboard'), purge_step=start_step + 1 if start_step else None
      )

  def write(self, step: int, prefix: str, figures: dict[str, float]) -> None:
    """Writes `{prefix}/{name}` for each figure at a step."""
    if self._file is None:
      return
    named = {f'{prefix}/{name}': value for name, value in figures.items()}
    self._file.write(json.dumps({'step': step, **named}) + '\n')
    if self._events is not None:
      for name, value in named.items():
        self._events.add_scalar(name, value, step)

  def close(self) -> None:
    if self._file is not None:
      self._file.close()
    if self._events is not None:
      self._events.close()


def read_metrics(workdir: pathlib.Path) -> list[dict[str, Any]]:
  """The lines of a run's metrics.jsonl; a last line cut off by a kill is left out."""
  path = pathlib.Path(workdir) / 'metrics.jsonl'
  lines = []
  if path.exists():
    for text in path.read_text().splitlines():
      try:
        lines.append(json.loads(text))
      except json.JSONDecodeError:
        break
  return lines
