"""Checkpoints as files: what a step holds, and weights alone, read from one and written as one.

A step has four items: `variables` and `ema` (parameters and BatchNorm statistics), `optimizer`
(its state, the step, the key) and `meta` (the config with its hash, the evaluations and the left
out steps so far, as JSON); and our manifest.
"""

import contextlib
import math
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from ecanet_jax.checkpoints import integrity
from ecanet_jax.checkpoints.recovery import FOLDER, fault_of, newest_sound, steps_in
from ecanet_jax.checkpoints.zip_limits import RATIO
from ecanet_jax.runtime.errors import UserError

Tree = dict[str, Any]
SMALL = 2**28  # bytes that an item may have however well they are compressed
ITEMS = {
  'variables': ocp.StandardCheckpointHandler,
  'ema': ocp.StandardCheckpointHandler,
  'optimizer': ocp.StandardCheckpointHandler,
  'meta': ocp.JsonCheckpointHandler,
}


def is_checkpoint(directory: str | os.PathLike) -> bool:
  """There is at least one step in this training's or weights' directory."""
  return bool(steps_in(directory))


def load_weights(
  directory: str | os.PathLike, *, ema: bool = True, step: int | str = 'last'
) -> tuple[dict[str, Any], Tree]:
  """Reads a training's or a converted network's weights, without its optimizer.

  Args:
    directory: a training's workdir, or what `save_weights` wrote.
    ema: the averaged weights where the checkpoint has them.
    step: 'last', 'best' (by top-1) or a number.

  Returns:
    The config as nested dicts, and {'params', 'batch_stats'} as numpy arrays.

  Raises:
    UserError: no checkpoint there, no such step, or one that is damaged or cannot be read. For
      'last' a damaged one is a warning, and the newest sound one is read.
  """
  config, variables, _ = load_evaluated(directory, ema=ema, step=step)
  return config, variables


def load_evaluated(
  directory: str | os.PathLike, *, ema: bool = True, step: int | str = 'last'
) -> tuple[dict[str, Any], Tree, tuple[str, str]]:
  """`load_weights`, and in words what the weights were trained on and their evaluation.

  Both are '' for weights that were not trained here; the evaluation is '' if it was of another step
  or of other weights.
  """
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
    config, last, words = meta['config'], meta.get('last'), ('', '')
    if not all(isinstance(config[key], dict) for key in ('model', 'data')):
      raise UserError(f'{where}: the config in it is not one.')
    if last is not None:
      theirs = last.get('step') == step and (ema or not config['ema']['decay'])
      words = data_name(config), evaluation_text(config, last) if theirs else ''
  return config, jax.tree.map(np.asarray, restored[item]), words


def data_name(config: Mapping[str, Any]) -> str:
  """The data set of a recipe in words."""
  data = config['data']
  return f'image folder {data["data_dir"]}' if data['source'] == 'folder' else data['name']


def evaluation_text(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
  """An evaluation with the images that it was of."""
  return (
    f'top-1 {100 * metrics["top1"]:.2f} %, top-5 {100 * metrics["top5"]:.2f} % on all '
    f'{metrics["seen"]:,} images of {config["data"]["eval_split"]} of {data_name(config)}, '
    f'step {metrics["step"]}'
  )


def save_weights(
  directory: str | os.PathLike, config: dict[str, Any], variables: Tree,
  proven: Callable[[], Any] = lambda: None,
) -> None:
  """Writes weights as step 0 of a checkpoint that `load_weights` reads.

  They are written beside `directory` and become it when they are whole and `proven` has returned;
  where it raises, nothing is left.
  """
  target = pathlib.Path(directory).absolute()
  target.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(prefix=f'.{target.name}-', dir=target.parent) as aside:
    with ocp.CheckpointManager(pathlib.Path(aside, FOLDER)) as manager:
      manager.save(
        0, args=ocp.args.Composite(
          variables=ocp.args.StandardSave(jax.tree.map(np.asarray, variables)),
          meta=ocp.args.JsonSave({'config': config}),
        )
      )
      manager.wait_until_finished()
    integrity.write(pathlib.Path(aside, FOLDER, '0'))
    proven()
    target.mkdir(exist_ok=True)
    os.rename(pathlib.Path(aside, FOLDER), target / FOLDER)


@contextlib.contextmanager
def _reader(directory: str | os.PathLike, asked: int | str):
  """Opens a checkpoint for reading: yields the manager, the number of the step and its path."""
  known = steps_in(directory)
  if not known:
    raise UserError(f'no checkpoint in {directory}: give the --workdir of a training.')
  root = pathlib.Path(directory).absolute() / FOLDER
  step = newest_sound(directory) if asked == 'last' else asked
  hide_closed_loops()
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
        f'{root / str(step)} is damaged: {fault}. --checkpoint=last takes the newest sound one.'
      )
    yield manager, step, root / str(step)


def _check_sizes(where: pathlib.Path, item: str, saved) -> None:
  """Refuses an item that says it has far more values than its files can have."""
  leaves = jax.tree.leaves(_plain(saved))
  size = sum(path.stat().st_size for path in (where / item).rglob('*') if path.is_file())
  declared = sum(math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize for leaf in leaves)
  if declared > RATIO * size + SMALL:
    raise UserError(f'{where}: {item} has {size:,} bytes and says that it holds {declared:,}.')


def hide_closed_loops() -> None:
  """Keeps Python from printing a stack for each array of a save or a restore that failed.

  TensorStore tells asyncio's loop of every array that had begun, and the loop is closed by then.
  The error itself is raised as any other.
  """
  if not isinstance(sys.unraisablehook, _UnlessClosed):
    sys.unraisablehook = _UnlessClosed(sys.unraisablehook)


class _UnlessClosed:
  """A hook for errors that nobody can catch: the one before, but for those of a closed loop."""

  def __init__(self, before: Callable):
    self._before = before

  def __call__(self, event) -> None:
    error = event.exc_value
    if not isinstance(error, RuntimeError) or str(error) != 'Event loop is closed':
      self._before(event)


def rank(metrics) -> float:
  """What the best step has most of."""
  return metrics.get('top1', -1.0) if metrics else -1.0


def _plain(tree):
  return dict(tree.tree if hasattr(tree, 'tree') else tree)


@contextlib.contextmanager
def readable(where: pathlib.Path):
  """Whatever Orbax raises about files becomes one line that names the checkpoint."""
  try:
    yield
  except UserError:
    raise
  except Exception as error:  # Orbax and tensorstore raise many kinds for a damaged file.
    raise UserError(
      f'{where} cannot be read ({line(error)}). '
      'Remove that directory to go on from the step before.'
    ) from error


def line(error: Exception) -> str:
  """An exception of a library in one line."""
  return f'{type(error).__name__}: {" ".join(str(error).split())[:200]}'
