"""What a training writes down as it goes: its steps and its evaluations."""

import os
from typing import Any

import jax
import numpy as np

from ecanet_jax.runtime.progress import Progress
from ecanet_jax.training.faults.nonfinite import Guard
from ecanet_jax.training.logging.writers import MetricsWriter

AHEAD = 2  # steps that the devices may be given before the host waits for the one before them


class Journal:
  """Log lines, metrics.jsonl and TensorBoard events of one process's part of a training.

  Attributes:
    progress: the bar, the lines and the times.
  """

  def __init__(
    self, config, workdir: str | os.PathLike, step: int, total_steps: int, steps_per_epoch: float,
    guard: Guard,
  ):
    """Begins after `step`; what is there of later steps is of a run that was killed, and goes."""
    self.progress = Progress(step, total_steps, config.batch_size)
    self._writer = MetricsWriter(workdir, step, config.tensorboard)
    self._steps_per_epoch, self._guard = steps_per_epoch, guard
    self._pending: list[tuple[int, dict[str, jax.Array]]] = []

  def add(self, step: int, metrics: dict[str, jax.Array]) -> None:
    """Takes a step that was dispatched; waits for the one AHEAD steps before."""
    self._pending.append((step, metrics))
    self.progress.advance()
    if len(self._pending) > AHEAD:
      jax.block_until_ready(self._pending[-1 - AHEAD])

  def write(self) -> None:
    """Writes one line of the steps since the last call; nothing if there are none.

    Raises:
      NonFiniteError: too many in a row were not finite.
    """
    if not self._pending:
      return
    steps, values = zip(*jax.device_get(self._pending))
    self._pending.clear()
    left_out = self._guard.take(steps, values)
    good = [value for value in values if not value['left_out']] or values
    metrics = {
      'loss': float(np.mean([value['loss'] for value in good])),
      'grad_norm': float(good[-1]['grad_norm']),
      'lr': float(values[-1]['lr']),
    }
    epoch = steps[-1] / self._steps_per_epoch
    speed = self.progress.report(steps[-1], epoch, metrics)
    figures = {**metrics, 'epoch': epoch, **speed} | ({'left_out': left_out} if left_out else {})
    finite = {key: value for key, value in figures.items() if np.isfinite(value)}
    self._writer.write(steps[-1], 'train', finite)

  def evaluation(self, step: int, metrics: dict[str, Any], line: str) -> None:
    """Writes an evaluation, and its line."""
    self._writer.write(step, 'eval', metrics)
    self.progress.say(f'step {step}: {line}')

  def close(self) -> None:
    self.progress.close()
    self._writer.close()
