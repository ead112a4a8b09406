"""The steps on disk: finds the sound ones and sets damaged ones aside."""

import os
import pathlib
import shutil
import time

import jax
import numpy as np
from jax.experimental import multihost_utils

from ecanet_jax.checkpoints import integrity
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.log import log

FOLDER = 'checkpoints'
ASIDE = 'damaged'  # the folder for damaged steps, beside FOLDER
PARTIAL = '.orbax-checkpoint-tmp'  # part of the names of unfinished saves
REMOVALS = 50  # most attempts to remove unfinished saves, 0.1 s apart


def steps_in(directory: str | os.PathLike) -> list[int]:
  """The steps in the directory of a training or of weights, in ascending order."""
  root = pathlib.Path(directory).absolute() / FOLDER
  return sorted(int(path.name) for path in root.glob('*') if path.name.isdecimal())


def fault_of(directory: str | os.PathLike, step: int) -> str:
  """The first damaged file of a step, and how it is damaged; '' for a sound step.

  Older checkpoints have no manifests. A step without one counts as sound, with a warning, unless an
  earlier step has one.
  """
  root = pathlib.Path(directory).absolute() / FOLDER
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
  faults = {}
  for step in reversed(steps_in(directory)):
    faults[step] = fault_of(directory, step)
    if not faults[step]:
      return step
    log.warning('%s/%s/%d is damaged and not loaded: %s', directory, FOLDER, step, faults[step])
  raise _none_sound(directory, faults)


def prepare(directory: pathlib.Path) -> None:
  """Removes unfinished saves and sets damaged steps aside.

  Call it before Orbax reads the directory. A damaged step is a warning and moves to ASIDE, so that
  the training can save that step again. The first process does this; the others wait.

  Raises:
    UserError: there are steps and none is sound. Nothing is moved.
  """
  root, faults = directory / FOLDER, {}
  if jax.process_index() == 0:
    remove_partial(directory)
    steps = steps_in(directory)
    faults = {step: text for step in steps if (text := fault_of(directory, step))}
    if not faults or len(faults) < len(steps):
      for step, text in faults.items():
        log.warning(
          '%s is damaged and not loaded: %s; moved to %s', root / str(step), text,
          _set_aside(root / str(step)),
        )
      faults = {}
  lost = bool(faults)
  if jax.process_count() > 1:
    lost = bool(multihost_utils.broadcast_one_to_all(np.int32(lost)))
  if lost:
    raise _none_sound(directory, faults)


def remove_partial(directory: pathlib.Path) -> None:
  """Removes unfinished saves until none is left: a failing save may still write files."""
  for _ in range(REMOVALS):
    partial = list((directory / FOLDER).glob(f'*{PARTIAL}*'))
    if not partial:
      return
    for path in partial:
      shutil.rmtree(path, ignore_errors=True)
    time.sleep(0.1)


def _set_aside(step: pathlib.Path) -> pathlib.Path:
  folder = step.parent.parent / ASIDE
  folder.mkdir(exist_ok=True)
  target, number = folder / step.name, 0
  while target.exists():
    number += 1
    target = folder / f'{step.name}.{number}'
  os.rename(step, target)
  return target


def _none_sound(directory, faults: dict[int, str]) -> UserError:
  listed = '; '.join(f'step {step}: {text}' for step, text in sorted(faults.items())[-3:])
  return UserError(
    f'{pathlib.Path(directory) / FOLDER}: none of its checkpoints is sound'
    + (f' ({listed})' if listed else '')
    + '. Restore one from a backup, or give another --workdir to begin anew.'
  )
