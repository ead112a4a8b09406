"""Learning-rate schedules: a config's causes (epochs, rate per 256 images) become steps."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from ecanet_jax.errors import UserError, lookup

Schedule = Callable[[jax.Array], jax.Array]


def make_schedule(config, steps_per_epoch: float, total_steps: int) -> Schedule:
  """The learning rate at each step, counted from 0.

  During the warm-up the rate is peak * step / warm-up steps; afterwards the named decay, whose
  epochs count from step 0 for `exponential` and `step` (as TF EfficientNet does) and from the end
  of the warm-up for `cosine`.

  Args:
    config: the whole config; `schedule` and `batch_size` are read.
    steps_per_epoch: training images / batch size.
    total_steps: of the training.

  Raises:
    UserError: an unknown schedule or an impossible number.
  """
  section = config.schedule
  if section.lr <= 0:
    raise UserError(f'schedule.lr={section.lr} must be above 0.')
  if not 0 <= section.warmup_epochs * steps_per_epoch <= total_steps:
    raise UserError(
      f'schedule.warmup_epochs={section.warmup_epochs} must be at least 0 and at most the '
      f'{config.epochs} epochs of the training.'
    )
  peak = peak_learning_rate(config)
  warmup_steps = round(section.warmup_epochs * steps_per_epoch)
  decay = lookup(SCHEDULES, section.name, 'schedule.name')(
    section, peak, steps_per_epoch, warmup_steps, total_steps
  )

  def schedule(step):
    rising = peak * step / max(warmup_steps, 1)
    return jnp.where(step < warmup_steps, rising, decay(step)).astype(jnp.float32)

  return schedule


def peak_learning_rate(config) -> float:
  """`schedule.lr` is per 256 images; the optimizer's is lr * batch_size / 256."""
  return config.schedule.lr * config.batch_size / 256


def _exponential(section, peak, steps_per_epoch, warmup_steps, total_steps):
  if section.decay_epochs <= 0:
    raise UserError(f'schedule.decay_epochs={section.decay_epochs} must be above 0.')
  return optax.exponential_decay(
    peak, round(section.decay_epochs * steps_per_epoch), section.decay_rate,
    staircase=section.staircase,
  )


def _cosine(section, peak, steps_per_epoch, warmup_steps, total_steps):
  after = optax.cosine_decay_schedule(
    peak, max(total_steps - warmup_steps, 1), section.final_fraction
  )
  return lambda step: after(step - warmup_steps)


def _step(section, peak, steps_per_epoch, warmup_steps, total_steps):
  return optax.piecewise_constant_schedule(
    peak, {round(epoch * steps_per_epoch): section.decay_rate for epoch in section.milestones}
  )


SCHEDULES = {
  'exponential': _exponential,
  'cosine': _cosine,
  'step': _step,
  'constant': lambda section, peak, *_: optax.constant_schedule(peak),
}
