"""What looks wrong in the first steps of a training."""

import math
import statistics
from collections.abc import Iterator, Mapping

from ecanet_jax.cli.doctor.first_steps import CLOSED, OPEN, FirstSteps
from ecanet_jax.cli.doctor.report import BROKEN, OK, WARNING, Finding
from ecanet_jax.training.trainer import Trainer


def look_for(trainer: Trainer, seen: FirstSteps) -> Iterator[Finding]:
  """A line for each thing that was looked at, with advice where it looks wrong."""
  yield from _loss(trainer, seen)
  yield from _images(seen)
  yield from _gradients(trainer, seen)
  yield from _gates(seen.end.stuck)
  yield from _speed(trainer, seen)


def _loss(trainer: Trainer, seen: FirstSteps) -> Iterator[Finding]:
  config, first = trainer.config, seen.losses[0]
  if seen.left_out:
    yield (
      BROKEN, f'{seen.left_out} of {len(seen.losses)} steps were not finite',
      f'a lower learning rate: --config.schedule.lr={config.schedule.lr / 10:g}',
    )
    return
  # Equal probabilities for all classes; binary cross-entropy is a mean over the classes.
  expected = math.log(2 if config.loss.name == 'bce' else trainer.model.num_classes)
  what = f'loss at the start {first:.3f}; equal probabilities give {expected:.3f}'
  weighted = config.loss.class_weights or config.loss.balanced
  if config.init.weights or trainer.teacher or weighted:
    yield OK, f'{what} (not comparable with first weights, a teacher or class weights)', ''
  elif first > 1.5 * expected:
    yield (
      WARNING, what, 'the logits start large: look at model.classifier_values, data.mean and '
      'data.std.'
    )
  elif first < 0.5 * expected:
    yield WARNING, what, 'less than chance allows: look for labels that are all the same.'
  else:
    yield OK, what, ''
  last = statistics.fmean(seen.losses[-5:])
  what = f'loss of the last five of {len(seen.losses)} steps {last:.3f}'
  if last > 2 * max(first, expected):
    lower = f'--config.schedule.lr={config.schedule.lr / 4:g}'
    yield WARNING, f'{what}: it rises', f'{lower}, or doctor --train ... --find_lr'
  else:
    yield OK, what, ''


def _images(seen: FirstSteps) -> Iterator[Finding]:
  mean, std = seen.images
  what = f'normalised images: mean {mean:.2f}, standard deviation {std:.2f}'
  if abs(mean) > 2 or not 0.2 < std < 4:
    yield WARNING, what, 'they should be near 0 and 1: look at data.mean and data.std (in 0..1).'
  else:
    yield OK, what, ''
  if seen.labels == 1:
    yield (
      WARNING, 'all images of the first batch are of one class',
      'the data are sorted: a larger data.shuffle_buffer, or prepare them shuffled.'
    )


def _gradients(trainer: Trainer, seen: FirstSteps) -> Iterator[Finding]:
  for moment, view in (('at the start', seen.start), ('at the end', seen.end)):
    text = ', '.join(f'{stage} {norm:.2g}' for stage, norm in view.gradients.items())
    zero = [stage for stage, norm in view.gradients.items() if not norm]
    norms = [norm for norm in view.gradients.values() if norm]
    if not norms or not all(map(math.isfinite, norms)):
      yield BROKEN, f'gradient norms {moment}: {text}', 'a lower learning rate.'
    elif zero and not trainer.config.model.frozen_stages:
      yield WARNING, f'gradient norms {moment}: {text}', f'{", ".join(zero)} learns nothing.'
    elif max(norms) > 1000 * min(norms):
      yield (
        WARNING, f'gradient norms {moment}: {text}',
        'the stages differ by more than 1000: a warm-up, or optimizer.clip_norm, helps.'
      )
    else:
      yield OK, f'gradient norms {moment}: {text}', ''
  view = seen.end
  small = view.below['bfloat16']
  what = (
    f'gradient values up to {view.largest:.2g}; {100 * small:.2g} % are too small for bfloat16, '
    f'{100 * view.below["float16"]:.2g} % for float16'
  )
  if trainer.config.compute_dtype == 'bfloat16' and small > 0.01:
    yield WARNING, what, '--config.compute_dtype=float32 keeps no more; look for a dead part.'
  else:
    yield OK, what, ''


def _gates(stuck: Mapping[str, float]) -> Iterator[Finding]:
  if not stuck:
    return
  worst = max(stuck, key=stuck.__getitem__)
  what = (
    f'attention: {100 * statistics.fmean(stuck.values()):.1f} % of the gates are stuck (below '
    f'{CLOSED} or above {OPEN} in all images), most in {worst}: {100 * stuck[worst]:.1f} %'
  )
  if stuck[worst] > 0.5:
    yield WARNING, what, 'a stuck gate has no gradient: a lower learning rate, or a warm-up.'
  else:
    yield OK, what, ''


def _speed(trainer: Trainer, seen: FirstSteps) -> Iterator[Finding]:
  chips = trainer.mesh.devices.size
  yield OK, f'first step {seen.took[0]:.1f} s, with compilation', ''
  if len(seen.took) < 2:
    return
  took, waited = sum(seen.took[1:]), sum(seen.waited[1:])
  speed = trainer.config.batch_size * (len(seen.took) - 1) / (took + waited) / chips
  share = waited / (took + waited)
  what = f'{speed:.1f} images/s a device on {chips}; {100 * share:.0f} % is waiting for data'
  if share > 0.2:
    yield (
      WARNING, what, 'more CPUs, smaller image files, or data.resident=True for a small set; '
      'python -m benchmarks --input measures the input alone.'
    )
  else:
    yield OK, what, ''
