"""The checkpoints of a running training: asynchronous saves, checked restores."""

import contextlib
import os
import shutil
import threading
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from ecanet_jax.checkpoints import integrity, recovery
from ecanet_jax.checkpoints.compare import check_same
from ecanet_jax.checkpoints.files import ITEMS, ignore_closed_loops, rank, readable
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, one_line
from ecanet_jax.runtime.log import log

Items = dict[str, Any]  # 'variables', 'optimizer' and perhaps 'ema' -> a tree of arrays
FAILURES = 3  # failed saves in a row that end the training
WRITERS_S = 60  # seconds to wait for the threads of a failed save before its files are removed


class SaveError(UserError):
  """Checkpoints cannot be written; the earlier ones are intact."""


class Manager(ocp.CheckpointManager):
  """Orbax's manager, but it never asks JAX's preemption service.

  training/faults/preemption.py asks it: the service must see one common count of steps.
  """

  def reached_preemption(self, step: int) -> bool:
    return False


class Checkpoints:
  """The checkpoints of one training; keeps the newest steps and the one with the best score.

  Attributes:
    directory: holds the steps.
  """

  def __init__(self, workdir: str | os.PathLike, keep: int):
    """Opens a workdir.

    Args:
      workdir: the training's directory.
      keep: number of newest steps to keep.

    Raises:
      UserError: there are checkpoints and none is sound.
      StoreError: the bucket does not answer.
    """
    self._workdir, self._keep = paths.absolute(paths.to_path(workdir)), keep
    self.directory = self._workdir / recovery.FOLDER
    self._step, self._bytes = 0, 0  # of the last save
    self._pending = False  # whether the last save may still be in progress
    self._failures = 0  # in a row
    recovery.prepare(self._workdir)
    ignore_closed_loops()
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
        # Called in Orbax's thread once the arrays are written, before the step is committed.
        async_options=ocp.AsyncOptions(
          timeout_secs=600, post_finalization_callback=self._write_manifest
        ),
      ),
    )

  def _write_manifest(self) -> None:
    integrity.write(recovery.unfinished(self.directory, self._step))

  def latest(self) -> int | None:
    """The newest step, or None."""
    return self._manager.latest_step()

  def save(self, step: int, items: Items, meta: dict[str, Any], score: float | None) -> None:
    """Waits for the last save and starts a new one.

    A failed save, the last one included, is a warning, and its files are removed. A step that
    exists is replaced: it was saved before its evaluation.

    Args:
      step: number of the step.
      items: arrays; copied before this returns, so the caller may donate them.
      meta: JSON.
      score: of this step's evaluation, larger is better; None if there was none.

    Raises:
      SaveError: FAILURES saves in a row have failed.
    """
    self.settle()
    self._step, self._bytes = step, sum(leaf.nbytes for leaf in jax.tree.leaves(items))
    arguments = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
    try:
      if self._step in self._manager.all_steps():
        self._manager.delete(self._step)
      self._manager.save(
        self._step, args=ocp.args.Composite(**arguments, meta=ocp.args.JsonSave(meta)),
        metrics={} if score is None else {'score': score},
      )
      self._pending = True
    except Exception as error:  # Orbax and tensorstore raise many kinds for a full disk.
      self._failed(error)

  def settle(self) -> bool:
    """Waits for the last save, if there is one; returns whether it is on disk.

    Raises:
      SaveError: FAILURES saves in a row have failed.
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
    # Only a new manager reads the directory again and knows which steps to remove.
    with contextlib.suppress(Exception):
      self._manager.close()
    self._remove_partial()
    self._manager = self._open()
    text = (
      f'step {self._step} is not saved ({one_line(error)}): {self._space()}. '
      f'The newest step there is {self.latest()}'
    )
    if self._failures >= FAILURES:
      raise SaveError(f'{self._failures} saves in a row failed: {text}.') from error
    log.warning('%s; failure %d of %d in a row', text, self._failures, FAILURES)

  def _space(self) -> str:
    """The place of the checkpoints, with its free bytes, and the bytes of a step."""
    needed = f'a step has {self._bytes / 1e6:,.1f} MB'
    if paths.is_remote(self.directory):
      return f'{needed} and goes to {self.directory}'
    free = shutil.disk_usage(self.directory).free / 1e6
    return f'{free:,.1f} MB are free where {self.directory} is, and {needed}'

  def restore(self, step: int, like: Items, sharding: jax.sharding.Sharding) -> Items:
    """Restores a step.

    Args:
      step: an existing one, such as `latest()`.
      like: shapes and types of the running network's items.
      sharding: of every array.

    Raises:
      UserError: the checkpoint cannot be read, or is of another network; the text names the first
        keys that differ.
    """
    where = self.directory / str(step)
    with readable(where):
      saved = self._manager.item_metadata(step)
    if bool(saved.get('ema')) != ('ema' in like):
      has, wants = ('an', 'no') if saved.get('ema') else ('no', 'an')
      raise UserError(f'{where} has {has} EMA and the config asks for {wants} EMA (ema.decay).')
    for name in ('variables', 'optimizer'):
      check_same(where, name, saved[name], like[name])

    def target(tree):
      placed = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
      return ocp.args.StandardRestore(jax.tree.map(placed, tree))

    items = {name: target(tree) for name, tree in like.items()}
    with readable(where):
      restored = self._manager.restore(step, args=ocp.args.Composite(**items))
    return {name: restored[name] for name in like}

  def meta(self, step: int) -> dict[str, Any]:
    """The JSON saved with a step.

    Raises:
      UserError: it cannot be read.
    """
    with readable(self.directory / str(step)):
      items = ocp.args.Composite(meta=ocp.args.JsonRestore())
      return self._manager.restore(step, args=items)['meta']

  def wait(self) -> None:
    """Waits for the last save.

    Raises:
      SaveError: it failed.
    """
    if not self.settle():
      raise SaveError(
        f'step {self._step} is not saved, see above; the newest in {self.directory} is '
        f'{self.latest()}. The same command resumes from there.'
      )

  def close(self) -> None:
    """Waits for the last save, whose failure is only a warning here."""
    try:
      self._manager.close()
    except Exception as error:
      log.warning('step %d is not saved (%s)', self._step, one_line(error))
      self._remove_partial()

  def _remove_partial(self) -> None:
    """Removes the files of a failed save once Orbax's threads have stopped writing."""
    for thread in threading.enumerate():
      if type(thread).__module__.startswith('orbax.'):
        threading.Thread.join(thread, WRITERS_S)  # Orbax's own join raises the thread's error
    if jax.process_index() == 0:
      recovery.remove_partial(self._workdir)
