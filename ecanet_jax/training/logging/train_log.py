"""The log of a training: lines, metrics.jsonl, TensorBoard events, trackers and a profile."""

import contextlib
from typing import Any

import jax
import numpy as np

from ecanet_jax.runtime import paths
from ecanet_jax.runtime.progress import Progress
from ecanet_jax.training.faults.nonfinite import NonFiniteCounter
from ecanet_jax.training.logging.profile import Profile, check_profile
from ecanet_jax.training.logging.trackers import Trackers, check_trackers
from ecanet_jax.training.logging.utilization import Utilization
from ecanet_jax.training.logging.writers import MetricsWriter

AHEAD = 2  # most steps dispatched ahead of the last finished one


class TrainLog:
  """The log of one training, from one start to its end.

  Attributes:
    progress: the bar, the lines and the times.
  """

  def __init__(
    self, config, workdir: paths.Path, step: int, total_steps: int, steps_per_epoch: float,
    nonfinite: NonFiniteCounter, utilization: Utilization,
  ):
    """Begins after `step`; removes what a killed process logged of later steps."""
    self.progress = Progress(step, total_steps, config.batch_size, utilization.figures)
    self._profile = Profile(config, workdir)
    self._writer = MetricsWriter(workdir, step, config.tensorboard)
    self._trackers = Trackers(config, workdir)
    self._steps_per_epoch, self._nonfinite = steps_per_epoch, nonfinite
    self._pending: list[tuple[int, dict[str, jax.Array]]] = []

  def dispatching(self, step: int) -> contextlib.AbstractContextManager[None]:
    """The dispatch of a step goes inside, so that a profile has it."""
    return self._profile.step(step)

  def add(self, step: int, metrics: dict[str, jax.Array]) -> None:
    """Adds a dispatched step; waits for the one AHEAD steps before it."""
    self._profile.finish(step, metrics)
    self._pending.append((step, metrics))
    self.progress.advance()
    if len(self._pending) > AHEAD:
      jax.block_until_ready(self._pending[-1 - AHEAD])

  def write(self) -> None:
    """Writes one line for the steps since the last call; nothing if there are none.

    Raises:
      NonFiniteError: too many steps in a row were not finite.
    """
    if not self._pending:
      return
    steps, values = zip(*jax.device_get(self._pending))
    self._pending.clear()
    left_out = self._nonfinite.add(steps, values)
    good = [value for value in values if not value['left_out']] or values
    metrics = {
      'loss': float(np.mean([value['loss'] for value in good])),
      'grad_norm': float(good[-1]['grad_norm']),
      'lr': float(values[-1]['lr']),
    }
    parts = {
      key: float(np.mean([value[key] for value in good]))
      for key in values[0] if key.startswith('loss_')
    }
    epoch = steps[-1] / self._steps_per_epoch
    speed = self.progress.report(steps[-1], epoch, metrics)
    figures = {**metrics, **parts, 'epoch': epoch, **speed}
    figures |= {'left_out': left_out} if left_out else {}
    finite = {key: value for key, value in figures.items() if np.isfinite(value)}
    self._write(steps[-1], 'train', finite)

  def evaluation(self, step: int, metrics: dict[str, Any], line: str) -> None:
    """Writes the metrics of an evaluation, and its line."""
    self._write(step, 'eval', metrics)
    self._writer.publish()
    self.progress.say(f'step {step}: {line}')

  def publish(self) -> None:
    """Makes sure that what was written is in the workdir, also if that is in a bucket."""
    self._writer.publish()

  def close(self) -> None:
    self.progress.close()
    self._profile.close()
    self._writer.close()
    self._trackers.close()

  def _write(self, step: int, prefix: str, figures: dict[str, Any]) -> None:
    self._writer.write(step, prefix, figures)
    self._trackers.write(step, prefix, figures)


def check_logging(config) -> None:
  """Raises UserError for a profile that cannot be, or a tracker that is not there."""
  check_profile(config)
  check_trackers(config)
