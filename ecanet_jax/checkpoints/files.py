"""Reads weights from a checkpoint and writes them as one.

A step has four items: `variables` and `ema` (parameters and BatchNorm statistics), `optimizer` (its
state, the step and the random key) and `meta` (JSON: the config with its hash, the classes and
sizes of the data, the evaluations, the number of steps that were not finite). The manifest lies
beside them.
"""

import contextlib
import dataclasses
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from ecanet_jax.checkpoints import integrity
from ecanet_jax.checkpoints.recovery import (
  FOLDER,
  fault_of,
  newest_sound,
  root_of,
  steps_in,
  unfinished,
)
from ecanet_jax.checkpoints.zip_limits import RATIO
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, one_line
from ecanet_jax.runtime.log import silence_orbax

Tree = dict[str, Any]
SMALL = 2**28  # bytes that an item may always have, however well it compresses
ITEMS = {
  'variables': ocp.StandardCheckpointHandler,
  'ema': ocp.StandardCheckpointHandler,
  'optimizer': ocp.StandardCheckpointHandler,
  'meta': ocp.JsonCheckpointHandler,
}


@dataclasses.dataclass(frozen=True)
class Saved:
  """The weights of a step, and what its meta says of them.

  Attributes:
    config: as nested dicts.
    variables: {'params', 'batch_stats'} as numpy arrays.
    metrics: of these weights, with their `step`. {} if they were not evaluated when they were
      saved, None if they are not from a training.
    data: the data of the training, JSON of `data.summary.DataSummary`; None if it is not known.
  """

  config: dict[str, Any]
  variables: Tree
  metrics: dict[str, Any] | None
  data: Any


def is_checkpoint(directory: str | os.PathLike) -> bool:
  """Whether the directory of a training or of weights has a step."""
  return bool(steps_in(directory))


def load_weights(
  directory: str | os.PathLike, *, ema: bool = True, step: int | str = 'last'
) -> tuple[dict[str, Any], Tree]:
  """Reads the weights of a training or of a converted network, without the optimizer's state.

  Args:
    directory: a training's workdir, or a directory of `save_weights`.
    ema: prefer the averaged weights.
    step: 'last', 'best' (by the task's headline metric), or a number or its text.

  Returns:
    The config as nested dicts, and {'params', 'batch_stats'} as numpy arrays.

  Raises:
    UserError: there is no checkpoint or no such step, or it is damaged. With 'last' a damaged step
      is a warning, and the newest sound one is read.
  """
  saved = load_saved(directory, ema=ema, step=step)
  return saved.config, saved.variables


def load_saved(
  directory: str | os.PathLike, *, ema: bool = True, step: int | str = 'last'
) -> Saved:
  """`load_weights`, with the metrics of these weights and the data of their training."""
  with _reader(directory, step) as (manager, step, where), readable(where):
    saved = manager.item_metadata(step)
    item = 'ema' if ema and saved.get('ema') else 'variables'
    _check_sizes(where, item, saved[item])
    host = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), _plain(saved[item]))
    restored = manager.restore(
      step, args=ocp.args.Composite(
        **{item: ocp.args.StandardRestore(host)}, meta=ocp.args.JsonRestore()
      )
    )
    meta = restored['meta']
    config, last = meta['config'], meta.get('last')
    if not all(isinstance(config[key], dict) for key in ('model', 'data')):
      raise UserError(f'{where}: the config in it is not one.')
    if last and (last['step'] != step or (not ema and config['ema']['decay'])):
      last = {}  # of another step, or of the averaged weights
  return Saved(config, jax.tree.map(np.asarray, restored[item]), last, meta.get('data'))


def newest_meta(directory: str | os.PathLike) -> dict[str, Any]:
  """The newest step's meta, read without verifying the step.

  {} if there is no step, or its meta cannot be read.
  """
  if not (steps := steps_in(directory)):
    return {}
  path = root_of(directory) / str(steps[-1]) / 'meta' / 'metadata'
  try:
    with paths.answers(path):
      found = json.loads(path.read_text())
  except (OSError, ValueError, RecursionError):  # RecursionError: nested too deeply
    return {}
  return found if isinstance(found, dict) else {}


def save_weights(
  directory: str | os.PathLike, config: dict[str, Any], variables: Tree,
  data: dict[str, Any] | None = None,
) -> None:
  """Writes weights as step 0 of a checkpoint that `load_weights` reads.

  On a local disk they are written to a temporary directory beside `directory`, which is renamed at
  the end. In a bucket the marker of the step comes last.

  Args:
    directory: the target; it must have no checkpoints.
    config: as nested dicts.
    variables: {'params', 'batch_stats'}.
    data: JSON of `data.summary.DataSummary`; None if the classes are not known.

  Raises:
    StoreError: the bucket cannot be written to.
  """
  target = paths.absolute(paths.to_path(directory))
  meta = {'config': config} | ({'data': data} if data else {})
  if paths.is_remote(target):
    with paths.answers(target):
      _save_step(target / FOLDER, meta, variables)
    return
  target.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(prefix=f'.{target.name}-', dir=target.parent) as aside:
    _save_step(paths.to_path(aside) / FOLDER, meta, variables)
    target.mkdir(exist_ok=True)
    os.rename(paths.to_path(aside) / FOLDER, target / FOLDER)


def _save_step(root: paths.Path, meta: dict[str, Any], variables: Tree) -> None:
  """Saves weights as step 0, with its manifest."""
  options = ocp.CheckpointManagerOptions(async_options=ocp.AsyncOptions(
    post_finalization_callback=lambda: integrity.write(unfinished(root, 0))
  ))
  with ocp.CheckpointManager(root, options=options) as manager:
    manager.save(
      0, args=ocp.args.Composite(
        variables=ocp.args.StandardSave(jax.tree.map(np.asarray, variables)),
        meta=ocp.args.JsonSave(meta),
      )
    )
    manager.wait_until_finished()


@contextlib.contextmanager
def _reader(directory: str | os.PathLike, asked: int | str):
  """Opens a checkpoint for reading; yields Orbax's manager, the step and the step's path."""
  known = steps_in(directory)
  if not known:
    raise UserError(f'no checkpoint in {directory}: give the workdir of a training.')
  root = root_of(directory)
  if isinstance(asked, str) and asked.isdecimal():
    asked = int(asked)
  step = newest_sound(directory) if asked == 'last' else asked
  ignore_closed_loops()
  silence_orbax()
  options = ocp.CheckpointManagerOptions(read_only=True, best_fn=rank, best_mode='max')
  handlers = {name: handler() for name, handler in ITEMS.items()}
  with readable(root):
    manager = ocp.CheckpointManager(root, options=options, item_handlers=handlers)
  with manager:
    if step == 'best':
      step = manager.best_step()
    if step not in known:
      raise UserError(f'{root} has no step {step}. Known: last, best, {known}.')
    if asked != 'last' and (fault := fault_of(directory, step)):
      raise UserError(
        f"{root / str(step)} is damaged: {fault}. The checkpoint 'last' is the newest sound step."
      )
    yield manager, step, root / str(step)


def _check_sizes(where: paths.Path, item: str, saved) -> None:
  """Refuses an item whose metadata declares far more bytes than its files can hold."""
  leaves = jax.tree.leaves(_plain(saved))
  size = sum(map(paths.size, paths.files_below(where / item)))
  declared = sum(math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize for leaf in leaves)
  if declared > RATIO * size + SMALL:
    raise UserError(f'{where}: {item} has {size:,} bytes and says that it holds {declared:,}.')


def ignore_closed_loops() -> None:
  """Keeps Python from printing a traceback for each array of a failed save or restore.

  TensorStore reports every array to asyncio's event loop, which is closed after the first error.
  The first error itself is raised as usual.
  """
  if not isinstance(sys.unraisablehook, _IgnoreClosedLoops):
    sys.unraisablehook = _IgnoreClosedLoops(sys.unraisablehook)


class _IgnoreClosedLoops:
  """`sys.unraisablehook` without the errors of a closed event loop."""

  def __init__(self, before: Callable):
    self._before = before

  def __call__(self, event) -> None:
    error = event.exc_value
    if not isinstance(error, RuntimeError) or str(error) != 'Event loop is closed':
      self._before(event)


def rank(metrics) -> float:
  """The score of a step, from the metrics saved with it; the best step has the largest.

  Older checkpoints have the top-1 accuracy instead of a score.
  """
  metrics = metrics or {}
  return metrics.get('score', metrics.get('top1', -math.inf))


def _plain(tree):
  return dict(tree.tree if hasattr(tree, 'tree') else tree)


@contextlib.contextmanager
def readable(where: paths.Path):
  """Turns any error of Orbax about files into one line that names the checkpoint."""
  try:
    yield
  except (UserError, paths.StoreError):
    raise
  except Exception as error:  # Orbax and tensorstore raise many kinds for a damaged file.
    advice = (
      'The same command tries again.' if paths.is_remote(where)
      else 'Remove that directory to use an earlier step.'
    )
    raise UserError(f'{where} cannot be read ({one_line(error)}). {advice}') from error
