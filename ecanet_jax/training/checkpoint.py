"""Checkpoints: Orbax, restored against what the running network expects.

A step has four items: `variables` and `ema` (parameters and BatchNorm statistics), `optimizer`
(its state, the step, the key) and `meta` (the config and the best evaluation so far, as JSON).
"""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from ecanet_jax.errors import UserError
from ecanet_jax.training.state import TrainState

Tree = dict[str, Any]
FOLDER = 'checkpoints'
ITEMS = {
  'variables': ocp.StandardCheckpointHandler,
  'ema': ocp.StandardCheckpointHandler,
  'optimizer': ocp.StandardCheckpointHandler,
  'meta': ocp.JsonCheckpointHandler,
}


class Manager(ocp.CheckpointManager):
  """Orbax's, which leaves JAX's preemption service alone: the supervisor counts for it."""

  def reached_preemption(self, step: int) -> bool:
    return False


class Checkpoints:
  """The checkpoints of one training: asynchronous saves, the newest ones and the best kept."""

  def __init__(self, workdir: str | os.PathLike, keep: int):
    keep_these = preservation_policy.AnyPreservationPolicy([
      preservation_policy.LatestN(keep),
      preservation_policy.BestN(get_metric_fn=_rank, n=1, keep_checkpoints_without_metrics=False),
    ])
    self.directory = pathlib.Path(workdir).absolute() / FOLDER
    self._manager = Manager(
      self.directory,
      item_handlers={name: handler() for name, handler in ITEMS.items()},
      options=ocp.CheckpointManagerOptions(
        best_fn=_rank, best_mode='max', preservation_policy=keep_these,
        cleanup_tmp_directories=True,
        async_options=ocp.AsyncOptions(timeout_secs=600),
      ),
    )

  def latest(self) -> int | None:
    """The newest step, or None."""
    return self._manager.latest_step()

  def save(self, state: TrainState, meta: dict[str, Any], top1: float | None) -> None:
    """Starts to save a step; waits for the save before, whose errors come up here.

    Args:
      state: copied before this returns, so the caller may donate it.
      meta: JSON: config and best evaluation.
      top1: of this step's evaluation, None where there was none.

    A step that is there is replaced: it was saved before its evaluation.
    """
    self._manager.wait_until_finished()
    if int(state.step) in self._manager.all_steps():
      self._manager.delete(int(state.step))
    items = {
      'variables': ocp.args.StandardSave(state.variables),
      'optimizer': ocp.args.StandardSave(_optimizer_item(state)),
      'meta': ocp.args.JsonSave(meta),
    }
    if state.ema:
      items['ema'] = ocp.args.StandardSave(state.ema)
    self._manager.save(
      int(state.step), args=ocp.args.Composite(**items),
      metrics={} if top1 is None else {'top1': top1},
    )

  def restore(
    self, step: int, like: TrainState, sharding: jax.sharding.Sharding
  ) -> tuple[TrainState, dict[str, Any]]:
    """Restores a step and its meta.

    Args:
      step: of `latest()`.
      like: shapes and types of the running network's state.
      sharding: where every array goes.

    Raises:
      UserError: the checkpoint cannot be read, or holds another network; the text names the
        first keys that differ.
    """
    where = self.directory / str(step)
    with _readable(where):
      saved = self._manager.item_metadata(step)
    check_same(where, 'variables', saved['variables'], like.variables)
    if bool(saved.get('ema')) != bool(like.ema):
      has, wants = ('an', 'no') if saved.get('ema') else ('no', 'an')
      raise UserError(f'{where} has {has} EMA and the config asks for {wants} EMA (ema.decay).')
    check_same(where, 'optimizer', saved['optimizer'], _optimizer_item(like))

    def target(tree):
      placed = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
      return ocp.args.StandardRestore(jax.tree.map(placed, tree))

    items = {
      'variables': target(like.variables),
      'optimizer': target(_optimizer_item(like)),
      'meta': ocp.args.JsonRestore(),
    }
    if like.ema:
      items['ema'] = target(like.ema)
    with _readable(where):
      restored = self._manager.restore(step, args=ocp.args.Composite(**items))
    optimizer = restored['optimizer']
    state = like.replace(
      **optimizer, variables=restored['variables'], ema=restored['ema'] if like.ema else {}
    )
    return state, restored['meta']

  def wait(self) -> None:
    """Returns when everything is on disk; errors of the last save come up here."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    self._manager.close()


def is_checkpoint(directory: str | os.PathLike) -> bool:
  """There is at least one step in this training's or weights' directory."""
  return bool(_steps(directory))


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
    UserError: no checkpoint there, no such step, or one that cannot be read.
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
  with _reader(directory, step) as (manager, step, where), _readable(where):
    saved = manager.item_metadata(step)
    item = 'ema' if ema and saved.get('ema') else 'variables'
    host = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), _plain(saved[item]))
    restored = manager.restore(
      step, args=ocp.args.Composite(
        **{item: ocp.args.StandardRestore(host)}, meta=ocp.args.JsonRestore()
      )
    )
  meta = restored['meta']
  config, last, words = meta['config'], meta.get('last'), ('', '')
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
    proven()
    target.mkdir(exist_ok=True)
    os.rename(pathlib.Path(aside, FOLDER), target / FOLDER)


def check_same(where, item: str, saved: Tree, wanted: Tree) -> None:
  """Raises UserError, naming the first differing keys, unless shapes and types are the same."""
  ours, theirs = _leaves(wanted), _leaves(saved)
  missing = [key for key in ours if key not in theirs]
  extra = [key for key in theirs if key not in ours]
  other = [
    f'{key} is {_kind(theirs[key])}, not {_kind(ours[key])}'
    for key in ours if key in theirs and _kind(theirs[key]) != _kind(ours[key])
  ]
  if missing or extra or other:
    found = {'missing': missing, 'unexpected': extra, 'different': other}
    parts = [
      f'{len(names)} {text}: {", ".join(names[:3])}' for text, names in found.items() if names
    ]
    raise UserError(
      f'{where} is a checkpoint of another network or optimizer ({item}): {"; ".join(parts)}. '
      'Train with its config, or give another --workdir.'
    )


@contextlib.contextmanager
def _reader(directory: str | os.PathLike, step: int | str):
  """Opens a checkpoint for reading: yields the manager, the number of the step and its path."""
  steps = _steps(directory)
  if not steps:
    raise UserError(f'no checkpoint in {directory}: give the --workdir of a training.')
  root = pathlib.Path(directory).absolute() / FOLDER
  options = ocp.CheckpointManagerOptions(read_only=True, best_fn=_rank, best_mode='max')
  handlers = {name: handler() for name, handler in ITEMS.items()}
  with ocp.CheckpointManager(root, options=options, item_handlers=handlers) as manager:
    if step == 'last':
      step = max(steps)
    elif step == 'best':
      step = manager.best_step()
    if step not in steps:
      raise UserError(f'{root} has no step {step}. Known: last, best, {sorted(steps)}.')
    yield manager, step, root / str(step)


def _optimizer_item(state: TrainState) -> Tree:
  return {'step': state.step, 'rng': state.rng, 'opt_state': state.opt_state}


def _rank(metrics) -> float:
  return metrics.get('top1', -1.0) if metrics else -1.0


def _steps(directory) -> list[int]:
  root = pathlib.Path(directory).absolute() / FOLDER
  return [int(path.name) for path in root.glob('*') if path.name.isdigit()]


def _plain(tree):
  return dict(tree.tree if hasattr(tree, 'tree') else tree)


def _leaves(tree) -> dict[str, Any]:
  tree = tree.tree if hasattr(tree, 'tree') else tree
  flat, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {'/'.join(_key_name(key) for key in path): leaf for path, leaf in flat}


def _key_name(key) -> str:
  for field in ('key', 'name', 'idx'):
    if hasattr(key, field):
      return str(getattr(key, field))
  return str(key)


def _kind(leaf) -> str:
  return f'{np.dtype(leaf.dtype).name}{list(leaf.shape)}'


@contextlib.contextmanager
def _readable(where: pathlib.Path):
  """Whatever Orbax raises about files becomes one line that names the checkpoint."""
  try:
    yield
  except UserError:
    raise
  except Exception as error:  # Orbax and tensorstore raise many kinds for a damaged file.
    text = ' '.join(str(error).split())[:200]
    raise UserError(
      f'{where} cannot be read ({type(error).__name__}: {text}). '
      'Remove that directory to go on from the step before.'
    ) from error
