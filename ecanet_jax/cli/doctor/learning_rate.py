"""doctor --train CONFIG --find_lr: the loss over a learning rate that grows in every step.

Smith, "Cyclical Learning Rates for Training Neural Networks" (2017), section 3.3.
"""

import dataclasses
import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.sharding import put_batch
from ecanet_jax.training.optimizer import make_optimizer
from ecanet_jax.training.state import TrainState
from ecanet_jax.training.step import make_train_step
from ecanet_jax.training.train_batches import step_stream
from ecanet_jax.training.trainer import Trainer

STEPS = 100
LOWEST, HIGHEST = 1e-5, 10.0  # per 256 images
MEMORY = 0.9  # of the smoothed loss
DIVERGED = 2.0  # times the lowest smoothed loss


@dataclasses.dataclass(frozen=True)
class RangeTest:
  """The steps until the loss diverged.

  Attributes:
    rates: learning rates per 256 images, as in `schedule.lr`.
    losses: smoothed.
    suggestion: a rate for `schedule.lr`.
  """

  rates: Sequence[float]
  losses: Sequence[float]
  suggestion: float


def find(trainer: Trainer, state: TrainState, steps: int = STEPS) -> RangeTest:
  """Trains with a rate that grows from LOWEST to HIGHEST, until the loss diverges.

  The optimizer's state begins anew. Nothing is saved.

  Args:
    trainer: of the config.
    state: the first state; it is used up.
    steps: at most; at most those of the training.

  Raises:
    UserError: the loss never falls.
  """
  config, steps = trainer.config, min(steps, trainer.total_steps)
  rate = lambda step: LOWEST * (HIGHEST / LOWEST) ** (step / max(steps - 1, 1))
  schedule = lambda step: jnp.float32(rate(step) * config.batch_size / 256)
  tx = make_optimizer(config, schedule, trainer.model.is_frozen, trainer.model.stages_behind)
  state = state.replace(opt_state=tx.init(state.variables['params']))
  stream = step_stream(trainer.dataset, trainer.stretches, 0, lambda resident: make_train_step(
    trainer.model, trainer.task, tx, schedule, config, trainer.mesh, resident, trainer.teacher,
  ))
  rates, smoothed, mean = [], [], 0.0
  try:
    for number in range(steps):
      step, batch = next(stream)
      state, metrics = step(state, put_batch(batch, trainer.mesh, config.accumulate))
      loss = float(metrics['loss'])
      if metrics['left_out'] or not math.isfinite(loss):
        break
      mean = MEMORY * mean + (1 - MEMORY) * loss
      rates.append(rate(number))
      smoothed.append(mean / (1 - MEMORY ** (number + 1)))
      if smoothed[-1] > DIVERGED * min(smoothed):
        break
  finally:
    stream.close()
  return RangeTest(rates, smoothed, suggest(rates, smoothed))


def suggest(rates: Sequence[float], losses: Sequence[float]) -> float:
  """The rate at which the smoothed loss falls fastest, per factor of the rate.

  Raises:
    UserError: the loss never falls, or there are too few steps.
  """
  lowest = int(np.argmin(losses)) if len(losses) else 0
  if lowest < 2:
    raise UserError(
      f'the loss of {len(losses)} steps never falls: no learning rate can be suggested. See '
      'python -m ecanet_jax doctor --train CONFIG.'
    )
  slopes = np.gradient(np.asarray(losses[:lowest + 1]), np.log(rates[:lowest + 1]))
  return float(rates[int(np.argmin(slopes))])


def draw(result: RangeTest, path: paths.Path, title: str, now: float) -> None:
  """Draws a PNG of the loss over the learning rate.

  Args:
    result: of `find`.
    path: of the PNG.
    title: what is trained.
    now: the config's `schedule.lr`.
  """
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  figure = Figure(figsize=(8, 5), layout='constrained')
  FigureCanvasAgg(figure)
  axes = figure.subplots()
  axes.semilogx(result.rates, result.losses)
  axes.axvline(result.suggestion, color='C1', label=f'suggested: {result.suggestion:.2g}')
  axes.axvline(now, color='C2', linestyle='--', label=f"the config's: {now:.2g}")
  axes.set_xlabel('schedule.lr (per 256 images)')
  axes.set_ylabel(f'training loss, smoothed over about {1 / (1 - MEMORY):.0f} steps')
  axes.set_title(title)
  axes.grid(alpha=0.3)
  axes.legend()
  paths.write_figure(path, figure, dpi=100)
