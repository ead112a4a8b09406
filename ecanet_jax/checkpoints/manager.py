"""The checkpoints of a running training: saved beside it, restored against what it expects."""

import contextlib
import os
import pathlib
import shutil
import threading
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from ecanet_jax.checkpoints import integrity, recovery
from ecanet_jax.checkpoints.compare import check_same
from ecanet_jax.checkpoints.files import ITEMS, hide_closed_loops, line, rank, readable
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.progress import log
from ecanet_jax.training.state import TrainState

Tree = dict[str, Any]
FAILURES = 3  # saves in a row that fail before the training ends
WRITERS_S = 60  # given to the threads of a failed save to end, before what they wrote is removed


class SaveError(UserError):
  """Checkpoints cannot be written; the steps that were saved before are as they were."""


class Manager(ocp.CheckpointManager):
  """Orbax's, which leaves JAX's preemption service alone: the supervisor counts for it."""

  def reached_preemption(self, step: int) -> bool:
    return False


class Checkpoints:
  """The checkpoints of one training: asynchronous saves, the newest ones and the best kept.

  Raises:
    UserError: there are checkpoints and none is sound.
  """

  def __init__(self, workdir: str | os.PathLike, keep: int):
    self._workdir, self._keep = pathlib.Path(workdir).absolute(), keep
    self.directory = self._workdir / recovery.FOLDER
    self._step, self._bytes = 0, 0  # of the save that was started last
    self._pending = False  # it was started, and nobody has waited for it
    self._failures = 0  # in a row
    recovery.prepare(self._workdir)
    hide_closed_loops()
    self._manager = self._open()

  def _open(self) -> ocp.CheckpointManager:
    keep_these = preservation_policy.AnyPreservationPolicy([
      preservation_policy.LatestN(self._keep),
      preservation_policy.BestN(get_metric_fn=rank, n=1, keep_checkpoints_without_metrics=False),
    ])
    return Manager(
      self.directory,
      item_handlers={name: handler() for name, handler in ITEMS.items()},
      options=ocp.CheckpointManagerOptions(
        best_fn=rank, best_mode='max', preservation_policy=keep_these,
        # In Orbax's thread, when all is written but before the step has its name.
        async_options=ocp.AsyncOptions(
          timeout_secs=600, post_finalization_callback=self._write_manifest
        ),
      ),
    )

  def _write_manifest(self) -> None:
    integrity.write(self.directory / f'{self._step}{recovery.PARTIAL}')

  def latest(self) -> int | None:
    """The newest step, or None."""
    return self._manager.latest_step()

  def save(self, state: TrainState, meta: dict[str, Any], top1: float | None) -> None:
    """Starts to save a step; waits for the save before, whose errors come up here.

    A failure is a warning, and what the save left is removed: the next one may succeed. A step that
    is there is replaced: it was saved before its evaluation.

    Args:
      state: copied before this returns, so the caller may donate it.
      meta: JSON: config and best evaluation.
      top1: of this step's evaluation, None where there was none.

    Raises:
      SaveError: FAILURES saves in a row failed.
    """
    self.settle()
    self._step = int(state.step)
    self._bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    items = {
      'variables': ocp.args.StandardSave(state.variables),
      'optimizer': ocp.args.StandardSave(_optimizer_item(state)),
      'meta': ocp.args.JsonSave(meta),
    }
    if state.ema:
      items['ema'] = ocp.args.StandardSave(state.ema)
    try:
      if self._step in self._manager.all_steps():
        self._manager.delete(self._step)
      self._manager.save(
        self._step, args=ocp.args.Composite(**items),
        metrics={} if top1 is None else {'top1': top1},
      )
      self._pending = True
    except Exception as error:  # Orbax and tensorstore raise many kinds for a full disk.
      self._failed(error)

  def settle(self) -> bool:
    """Waits for the save that was started, if one was; whether the last one is on disk.

    Raises:
      SaveError: as `save`.
    """
    try:
      self._manager.wait_until_finished()
    except Exception as error:
      self._failed(error)
      return False
    self._failures = 0 if self._pending else self._failures
    self._pending = False
    return not self._failures

  def _failed(self, error: Exception) -> None:
    self._failures, self._pending = self._failures + 1, False
    # Orbax has forgotten the steps that it was to remove after this one: it shall look again.
    with contextlib.suppress(Exception):
      self._manager.close()
    self._remove_partial()
    self._manager = self._open()
    text = (
      f'step {self._step} is not saved ({line(error)}): '
      f'{shutil.disk_usage(self.directory).free / 1e6:,.1f} MB are free where {self.directory} is, '
      f'and a step has {self._bytes / 1e6:,.1f} MB. The newest step there is {self.latest()}'
    )
    if self._failures >= FAILURES:
      raise SaveError(f'{self._failures} saves in a row failed: {text}.') from error
    log.warning('%s; failure %d of %d in a row', text, self._failures, FAILURES)

  def restore(
    self, step: int, like: TrainState, sharding: jax.sharding.Sharding
  ) -> TrainState:
    """Restores a step.

    Args:
      step: of `latest()`.
      like: shapes and types of the running network's state.
      sharding: where every array goes.

    Raises:
      UserError: the checkpoint cannot be read, or holds another network; the text names the
        first keys that differ.
    """
    where = self.directory / str(step)
    with readable(where):
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
    }
    if like.ema:
      items['ema'] = target(like.ema)
    with readable(where):
      restored = self._manager.restore(step, args=ocp.args.Composite(**items))
    optimizer = restored['optimizer']
    return like.replace(
      **optimizer, variables=restored['variables'], ema=restored['ema'] if like.ema else {}
    )

  def meta(self, step: int) -> dict[str, Any]:
    """What was saved with a step as JSON.

    Raises:
      UserError: it cannot be read.
    """
    with readable(self.directory / str(step)):
      items = ocp.args.Composite(meta=ocp.args.JsonRestore())
      return self._manager.restore(step, args=items)['meta']

  def wait(self) -> None:
    """Returns when everything is on disk.

    Raises:
      SaveError: the last save failed.
    """
    if not self.settle():
      raise SaveError(
        f'step {self._step} is not saved, see above; the newest in {self.directory} is '
        f'{self.latest()}. The same command goes on from there.'
      )

  def close(self) -> None:
    """Waits; an error of the last save is a warning, as another may be on its way."""
    try:
      self._manager.close()
    except Exception as error:
      log.warning('step %d is not saved (%s)', self._step, line(error))
      self._remove_partial()

  def _remove_partial(self) -> None:
    """Removes what a failed save left, when nobody writes there any more."""
    for thread in threading.enumerate():  # Orbax ends at the first error and leaves its others on
      if type(thread).__module__.startswith('orbax.'):
        threading.Thread.join(thread, WRITERS_S)  # its own would raise what it died of
    if jax.process_index() == 0:
      recovery.remove_partial(self._workdir)


def _optimizer_item(state: TrainState) -> Tree:
  return {'step': state.step, 'rng': state.rng, 'opt_state': state.opt_state}
