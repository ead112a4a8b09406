"""The learning rate of each step, from epochs and the rate per 256 images."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from ecanet_jax.runtime.errors import UserError, lookup

Schedule = Callable[[jax.Array], jax.Array]


def training_steps(config, steps_per_epoch: float) -> int:
  """The number of updates of a training.

  Args:
    config: the whole config, with either `epochs` or `steps`.
    steps_per_epoch: training images / batch size.

  Raises:
    UserError: both or neither are given.
  """
  if config.steps is None:
    if config.epochs <= 0:
      raise UserError(f'epochs={config.epochs} must be above 0, or give steps in its place.')
    return max(round(config.epochs * steps_per_epoch), 1)
  if config.epochs:
    raise UserError(
      f'epochs={config.epochs} and steps={config.steps} are both given; give one: '
      f'--config.epochs=0 --config.steps={config.steps}.'
    )
  return config.steps


def make_schedule(config, steps_per_epoch: float, total_steps: int) -> Schedule:
  """The learning rate at each step, counted from 0.

  It rises linearly to the peak during the warm-up and then follows the named decay. A decay counts
  its epochs from step 0, as in TF EfficientNet; `cosine` counts from the end of the warm-up by
  default.

  Args:
    config: the whole config; `schedule` and `batch_size` are read.
    steps_per_epoch: training images / batch size.
    total_steps: of the training.

  Raises:
    UserError: an unknown schedule, or a warm-up longer than the training.
  """
  section = config.schedule
  epochs = total_steps / steps_per_epoch
  if section.warmup_epochs > epochs:
    raise UserError(
      f'schedule.warmup_epochs={section.warmup_epochs} must be at most the '
      f'{epochs:g} epochs of the training.'
    )
  peak, start = peak_learning_rate(config), section.warmup_from
  # The unit of time is a step, or a whole epoch.
  epoch, total = (1, epochs) if section.per_epoch else (steps_per_epoch, total_steps)
  warmup = int(section.warmup_epochs * epoch)
  fraction = lookup(SCHEDULES, section.name, 'schedule.name')(section, epoch, warmup, total)

  def schedule(step):
    time = jnp.floor(step / steps_per_epoch) if section.per_epoch else step
    rising = start + (peak - start) * time / max(warmup, 1)
    return jnp.where(time < warmup, rising, peak * fraction(time)).astype(jnp.float32)

  return schedule


def peak_learning_rate(config) -> float:
  """The optimizer's peak learning rate; `schedule.lr` is per 256 images."""
  return config.schedule.lr * config.batch_size / 256


def _exponential(section, epoch, warmup, total):
  interval = section.decay_epochs * epoch  # not rounded to steps, as in TensorFlow

  def fraction(time):
    decays = jnp.asarray(time, jnp.float32) / interval
    if section.staircase:  # rounding must not delay a decay that is due exactly now
      decays = jnp.floor(decays * (1 + 2**-22))
    return section.decay_rate**decays

  return fraction


def _cosine(section, epoch, warmup, total):
  start, last = warmup if section.from_warmup else 0, section.final_fraction

  def fraction(time):
    passed = jnp.clip((time - start) / max(total - start, 1), 0, 1)
    return last + (1 - last) * (1 + jnp.cos(math.pi * passed)) / 2

  return fraction


def _step(section, epoch, warmup, total):
  starts = [milestone * epoch for milestone in section.milestones]
  return lambda time: section.decay_rate ** sum(jnp.float32(time >= start) for start in starts)


# Name -> a function that returns the fraction of the peak as a function of time.
SCHEDULES = {
  'exponential': _exponential,
  'cosine': _cosine,
  'step': _step,
  'constant': lambda section, epoch, warmup, total: lambda time: 1.0,
}
