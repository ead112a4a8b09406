"""The steps of a training: finds the sound ones and sets damaged ones aside."""

import os
import time

import jax
import numpy as np
from jax.experimental import multihost_utils

from ecanet_jax.checkpoints import integrity
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.log import log

FOLDER = 'checkpoints'
ASIDE = 'damaged'  # the folder for damaged steps, beside FOLDER
PARTIAL = '.orbax-checkpoint-tmp'  # part of the names of unfinished saves
REMOVALS = 50  # most attempts to remove unfinished saves, 0.1 s apart


def steps_in(directory: str | os.PathLike) -> list[int]:
  """The steps in the directory of a training or of weights, in ascending order.

  In a bucket a step counts from its marker on.

  Raises:
    StoreError: the bucket does not answer.
  """
  root = root_of(directory)
  with paths.answers(root):
    found = [path for path in root.iterdir() if path.name.isdecimal()] if root.is_dir() else []
    if paths.is_remote(root):
      found = [path for path in found if (path / integrity.COMMIT).exists()]
  return sorted(int(path.name) for path in found)


def root_of(directory: str | os.PathLike) -> paths.Path:
  """The directory that holds the steps."""
  return paths.absolute(paths.to_path(directory)) / FOLDER


def unfinished(root: paths.Path, step: int) -> paths.Path:
  """The directory of a step while it is being saved."""
  return root / (str(step) if paths.is_remote(root) else f'{step}{PARTIAL}')


def fault_of(directory: str | os.PathLike, step: int) -> str:
  """The first damaged file of a step, and how it is damaged; '' for a sound step.

  Older checkpoints have no manifests. A step without one counts as sound, with a warning, unless an
  earlier step has one.
  """
  root = root_of(directory)
  earlier = [other for other in steps_in(directory) if other < step]
  if integrity.exists(root / str(step)) or any(integrity.exists(root / str(n)) for n in earlier):
    return integrity.fault(root / str(step))
  log.warning('%s has no %s: its files are not verified', root / str(step), integrity.NAME)
  return ''


def newest_sound(directory: str | os.PathLike) -> int:
  """The newest step that is not damaged; damaged newer ones are warnings.

  Raises:
    UserError: there is none.
  """
  sound, faults = _verify(directory)
  if sound is None:
    raise _none_sound(directory, faults)
  for step, text in faults.items():
    log.warning('%s/%s/%d is damaged and not loaded: %s', directory, FOLDER, step, text)
  return sound


def prepare(directory: paths.Path) -> None:
  """Removes unfinished saves and sets damaged steps aside.

  Call it before Orbax reads the directory. The steps are verified from the newest on, until one is
  sound. A damaged step is a warning and moves to ASIDE, so that the training can save that step
  again. The first process does this; the others wait.

  Raises:
    UserError: there are steps and none is sound. Nothing is moved.
    StoreError: the bucket does not answer.
  """
  root, lost, faults = directory / FOLDER, False, {}
  if jax.process_index() == 0:
    remove_partial(directory)
    sound, faults = _verify(directory)
    lost = sound is None and bool(faults)
    for step, text in faults.items() if not lost else ():
      log.warning(
        '%s is damaged and not loaded: %s; moved to %s', root / str(step), text,
        _set_aside(root / str(step)),
      )
  if jax.process_count() > 1:
    lost = bool(multihost_utils.broadcast_one_to_all(np.int32(lost)))
  if lost:
    raise _none_sound(directory, faults)


def _verify(directory: str | os.PathLike) -> tuple[int | None, dict[int, str]]:
  """The newest sound step, and the fault of every newer one; older steps are not read."""
  faults = {}
  for step in reversed(steps_in(directory)):
    if not (text := fault_of(directory, step)):
      return step, faults
    faults[step] = text
  return None, faults


def remove_partial(directory: paths.Path) -> None:
  """Removes unfinished saves until none is left: a failing save may still write files.

  In a bucket they stay. They have no marker, so nothing reads them, and the next save of the step
  replaces them. A step that somebody copied there without its marker is safe, too.
  """
  for _ in range(0 if paths.is_remote(directory) else REMOVALS):
    partial = list((directory / FOLDER).glob(f'*{PARTIAL}*'))
    if not partial:
      return
    for path in partial:
      paths.remove_tree(path)
    time.sleep(0.1)


def _set_aside(step: paths.Path) -> paths.Path:
  """Moves a step to ASIDE; in a bucket by copies, of which the originals are then deleted."""
  folder = step.parent.parent / ASIDE
  paths.make_directory(folder)
  target, number = folder / step.name, 0
  while target.exists():
    number += 1
    target = folder / f'{step.name}.{number}'
  if not paths.is_remote(step):
    os.rename(step, target)
    return target
  with paths.answers(step):
    for path in paths.files_below(step):
      path.copy(target / path.relative_to(step).as_posix())
    (step / integrity.COMMIT).unlink()  # first, so that what is left after a kill does not count
    paths.remove_tree(step)
  return target


def _none_sound(directory, faults: dict[int, str]) -> UserError:
  listed = '; '.join(f'step {step}: {text}' for step, text in sorted(faults.items())[-3:])
  return UserError(
    f'{paths.to_path(directory) / FOLDER}: none of its checkpoints is sound'
    + (f' ({listed})' if listed else '')
    + '. Restore one from a backup, or train anew in another workdir.'
  )
