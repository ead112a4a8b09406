"""Checks that a checkpoint has the network, optimizer and classes of the training that resumes."""

from typing import Any

import flax.linen as nn

from ecanet_jax.checkpoints.files import newest_meta
from ecanet_jax.config.difference import as_text
from ecanet_jax.config.trees import differences
from ecanet_jax.data import DatasetInfo
from ecanet_jax.data.class_comparison import check_classes
from ecanet_jax.data.summary import DataSummary
from ecanet_jax.detection.from_config import create_from_config
from ecanet_jax.models.computation import other_fields
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.log import log
from ecanet_jax.tasks.distillation import Teacher
from ecanet_jax.training.schedule import training_steps


def check(where, old: dict[str, Any], new: dict[str, Any], model: nn.Module) -> None:
  """Refuses another network or optimizer, even one whose arrays have the same shapes.

  Args:
    where: the checkpoint, for the message.
    old: its config, plain.
    new: the config of this training, plain.
    model: the network of this training.

  Raises:
    UserError: with each value in the checkpoint and now.
  """
  changed = {}
  if differences(old['model'], new['model']):
    theirs = _network(old['model'])
    other = other_fields(theirs, model, ('folded',)) if theirs else {}
    changed = {f'model.{key}': pair for key, pair in other.items()}
  names = old['optimizer']['name'], new['optimizer']['name']
  if names[0] != names[1]:
    changed['optimizer.name'] = names
  if changed:
    listed = '; '.join(f'{key} {as_text(a)} | {as_text(b)}' for key, (a, b) in changed.items())
    raise UserError(
      f'{where} does not fit this config (checkpoint | now): {listed}. Train with the '
      "checkpoint's config, or give another --workdir and start from its weights with "
      '--config.init.weights.'
    )


def check_data(workdir: paths.Path, section: Any, info: DatasetInfo, config) -> None:
  """Refuses data with other classes than the checkpoint's; other numbers of images are a line.

  Args:
    workdir: of the training.
    section: `data` of the checkpoint's meta; None for a checkpoint without it.
    info: of the data set of this training.
    config: the whole config.

  Raises:
    UserError: with the first difference, unless data.accept_changes is set; or one of the two has
      any number of labels for an image.
  """
  if info.drawn:
    log.warning(
      '%s has no split.csv any more: evaluation images are chosen anew, and the training may have '
      'seen them', workdir,
    )
  was, now = DataSummary.from_json(section), DataSummary.of(info)
  if was is None:
    log.warning(
      "%s: the checkpoint has no class names; they are not compared with the data's", workdir
    )
    return
  _check_names(workdir, was, now, config)
  if was.multi_label != now.multi_label:
    many, one = 'any number of labels', 'one label'
    has, wants = (many, one) if was.multi_label else (one, many)
    raise UserError(
      f'{workdir} was trained with {has} for an image and the data have {wants}. '
      f'{_new_training(workdir, now, config)}'
    )
  _log_images(was, now, config)


def report(workdir: paths.Path, step: int, total_steps: int) -> None:
  """Logs the step that a training resumes at, or that the config ends before it."""
  if step > total_steps:
    log.warning(
      'the checkpoint in %s is of step %d, but the config ends at step %d: nothing is trained; '
      'for more steps set a larger --config.epochs or --config.steps', workdir, step, total_steps,
    )
  else:
    log.info('resumed at step %d of %d from %s', step, total_steps, workdir)


def check_teacher(workdir: paths.Path, was: str | None, teacher: Teacher | None, config) -> None:
  """Refuses a teacher with other values than that of the checkpoint.

  Args:
    workdir: of the training.
    was: the checksum in the checkpoint's meta; None without a teacher.
    teacher: of this training.
    config: the whole config.

  Raises:
    UserError: both have a teacher, and they differ.
  """
  if was and teacher and was != teacher.checksum:
    raise UserError(
      f'distill.weights={config.distill.weights} is not the teacher with which {workdir} was '
      'trained so far: give the weights of before, or another --workdir and '
      f'--config.init.weights={workdir}.'
    )


def check_class_count(workdir: paths.Path, now: DataSummary, config) -> None:
  """Names the classes that are gone and new, if a training cannot resume for their number.

  Args:
    workdir: of the training; the newest step is read without verifying it.
    now: of the data set of this training.
    config: the whole config.

  Raises:
    UserError: model.num_classes is not the data's, and the checkpoint has other class names.
  """
  if config.model.num_classes != now.num_classes and (section := newest_meta(workdir).get('data')):
    _check_names(workdir, DataSummary.from_json(section), now, config)


def _check_names(workdir: paths.Path, was: DataSummary, now: DataSummary, config) -> None:
  check_classes(
    str(workdir), was.label_names, now.label_names, accept=config.data.accept_changes,
    otherwise=_new_training(workdir, now, config),
  )


def _new_training(workdir: paths.Path, now: DataSummary, config) -> str:
  classes = '' if config.model.num_classes == now.num_classes else (
    f' --config.model.num_classes={now.num_classes}'
  )
  return (
    'For a new training that starts from its weights: another --workdir and '
    f'--config.init.weights={workdir}{classes}.'
  )


def _log_images(was: DataSummary, now: DataSummary, config) -> None:
  """Logs in a line how many images the splits had and have, if that has changed."""
  splits = {
    'train': (was.train_images, now.train_images), 'eval': (was.eval_images, now.eval_images)
  }
  changed = [
    f'{split}: {before:,} -> {after:,} images' for split, (before, after) in splits.items()
    if before is not None and before != after
  ]
  if not changed:
    return
  if was.train_images and was.train_images != now.train_images:
    epochs = [images / config.batch_size for images in (was.train_images, now.train_images)]
    steps = [training_steps(config, epoch) for epoch in epochs]
    changed.append('steps of an epoch: {:.4g} -> {:.4g}'.format(*epochs))
    changed.append('steps of the training: {} -> {}'.format(*steps))
  log.warning('the data have changed since the checkpoint: %s', '; '.join(changed))


def _network(section: dict[str, Any]) -> nn.Module | None:
  try:
    return create_from_config(section)
  except UserError:  # a network of another version; the shapes of the arrays decide
    return None
