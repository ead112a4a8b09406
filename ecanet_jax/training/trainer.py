"""The one trainer: from a config and a directory to a trained network, resumable at any moment."""

import json
import os
import pathlib
import time
from typing import Any

import jax
import numpy as np

from ecanet_jax import data
from ecanet_jax.checkpoints.files import data_name, evaluation_text, is_checkpoint
from ecanet_jax.checkpoints.manager import Checkpoints
from ecanet_jax.config import difference
from ecanet_jax.config.bounds import check_bounds
from ecanet_jax.config.difference import plain
from ecanet_jax.data.augmentation import settings
from ecanet_jax.evaluation.evaluate import evaluate, evaluated, make_eval_step, place, result_line
from ecanet_jax.models.from_config import make_model
from ecanet_jax.runtime import sharding
from ecanet_jax.runtime.consistency import agree, configuration, contents, one_directory
from ecanet_jax.runtime.errors import Interrupted, UserError
from ecanet_jax.runtime.memory import collect_from_now, return_freed_memory
from ecanet_jax.runtime.progress import log
from ecanet_jax.tasks.class_weights import class_weights
from ecanet_jax.tasks.classification import Classification
from ecanet_jax.training.early_stopping import Results
from ecanet_jax.training.faults import nonfinite
from ecanet_jax.training.faults.preemption import Supervisor
from ecanet_jax.training.logging.train_log import Journal
from ecanet_jax.training.logging.writers import read_metrics
from ecanet_jax.training.optimizer import make_optimizer
from ecanet_jax.training.pretrained_init import initial_weights
from ecanet_jax.training.progressive_resizing import check_sizes, size_at, stretches
from ecanet_jax.training.schedule import make_schedule, peak_learning_rate, training_steps
from ecanet_jax.training.state import init_state, state_shapes
from ecanet_jax.training.step import make_train_step
from ecanet_jax.training.train_batches import step_stream

AGAIN = 'the same command goes on from there.'
SETTLED = 5  # steps after which each array has the place in memory that it had in the step before


class Trainer:
  """A training of one config in one directory."""

  def __init__(self, config, workdir: str | os.PathLike):
    self._began = time.monotonic()
    self.config, self.workdir = config, pathlib.Path(workdir)
    check_bounds(config)
    if not str(workdir) or '://' in str(workdir):
      raise UserError(
        f'workdir={workdir} must be a directory, the same one on all machines: mount it there.'
      )
    agree('configuration', lambda: configuration(config, workdir))
    self.mesh = sharding.make_mesh()
    sharding.check_batch('batch_size', config.batch_size, self.mesh)
    settings.check(config)
    sharding.check_parts(config, self.mesh)
    self.dataset = data.open(config)
    self.info = self.dataset.info
    agree('data', lambda: contents(self.info))
    self.model = make_model(config, self.info.num_classes, self.mesh)
    weights = class_weights(config, self.dataset)
    self.task = Classification(config, weights)
    self.steps_per_epoch = self.info.train.num_examples / config.batch_size
    self.total_steps = training_steps(config, self.steps_per_epoch)
    self.stretches = stretches(config, self.steps_per_epoch, self.total_steps)
    check_sizes(self.model, config.data.image_size, {part.size for part in self.stretches})
    self.schedule = make_schedule(config, self.steps_per_epoch, self.total_steps)
    # All that the step is made of.
    self.facts = json.dumps([plain(config), self.steps_per_epoch, self.total_steps, weights])
    self.tx = make_optimizer(
      config, self.schedule, self.model.is_frozen, self.model.stages_behind
    )
    if config.early_stop < 0 or (config.early_stop and not config.eval_epochs):
      raise UserError(
        f'early_stop={config.early_stop} must be at least 0 and needs evaluations on the way: '
        f'eval_epochs={config.eval_epochs} must be above 0.'
      )
    self.results, self.guard = Results(), nonfinite.Guard(config.bad_steps)
    self.supervisor = Supervisor(config.watchdog_seconds)

  def run(self) -> dict[str, Any]:
    """Trains to the end and returns the last evaluation.

    Raises:
      UserError: a checkpoint of another network, or one that cannot be read; weights to start from
        that do not fit, or images in a folder that cannot be read, before anything is written.
      NonFiniteError: the loss or its gradient was not finite for too many steps in a row.
      SaveError: too many saves in a row failed, or the last one.
      Interrupted: SIGTERM or SIGINT came; the training is saved as far as it is.
    """
    with self.supervisor:
      return self._run()

  def _run(self) -> dict[str, Any]:
    call = self.supervisor.call
    call('start', self.dataset.check)
    fresh = not is_checkpoint(self.workdir)
    loaded = initial_weights(self.config, self.model) if fresh and self.config.init.weights else {}
    try:
      self.workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
      raise UserError(
        f'workdir={self.workdir} cannot be made a directory: {error.strerror}.'
      ) from error
    call('start', one_directory, self.workdir)
    checkpoints = call('start', Checkpoints, self.workdir, self.config.keep_checkpoints)
    try:
      state, evaluates = call('start', self._start, checkpoints, loaded)
      step = int(state.step)
      early = self._early(step)
      if (step >= self.total_steps or early) and not evaluates:
        self._announce(
          f'nothing to do: {self.workdir} is at step {step} of {self.total_steps}'
          + (f'; {early}' if early else '')
        )
      else:
        self._train(state, step, checkpoints, evaluates)
    except jax.errors.JaxRuntimeError as error:
      self.supervisor.end_if_lost(error)
      raise
    finally:
      checkpoints.close()
    return self.results.last

  def _start(self, checkpoints: Checkpoints, loaded: dict[str, np.ndarray]):
    """A fresh state, with the weights to start from, or the newest checkpoint's.

    Also whether that was saved when it was to be evaluated, but was not.
    """
    facts = self.model, self.tx, self.config, self.task.example()
    step = checkpoints.latest()
    if step is None:
      return init_state(*facts, self.mesh, loaded), False
    meta, now = checkpoints.meta(step), plain(self.config)
    difference.compare(meta['config'], now)
    state = checkpoints.restore(step, state_shapes(*facts), sharding.replicated(self.mesh))
    difference.check(checkpoints.directory / str(step), meta['config'], now, self.model)
    self.results = Results.of(meta)
    self.guard.restore(meta)
    log.info('resumed at step %d of %d from %s', step, self.total_steps, self.workdir)
    return state, meta.get('evaluates', False)

  def _train(self, state, step: int, checkpoints: Checkpoints, evaluates: bool) -> None:
    config = self.config
    log.info(
      '%s: %s parameters, %d devices, %d steps of %d images (%s), peak learning rate %g',
      config.model.name, f'{count(state.variables["params"]):,}', self.mesh.devices.size,
      self.total_steps, config.batch_size, self.info.train.name, peak_learning_rate(config),
    )
    if config.data.size_schedule:
      log.info('image sizes: %s', ', '.join(
        f'{part.size} px from step {part.first} on' for part in self.stretches
      ))
    make_step = lambda resident: make_train_step(
      self.model, self.task, self.tx, self.schedule, config, self.mesh, resident,
      self.facts,
    )
    eval_step = make_eval_step(evaluated(self.model, config), self.task, self.mesh)
    journal = Journal(
      config, self.workdir, step, self.total_steps, self.steps_per_epoch, self.guard
    )
    progress = journal.progress
    if jax.process_index() == 0:
      (self.workdir / 'config.json').write_text(json.dumps(plain(config), indent=2) + '\n')
    stream = step_stream(self.dataset, self.stretches, step, make_step)
    first, early, saves, top1, compiled = step, '', evaluates, None, None
    supervisor = self.supervisor
    try:
      while True:
        supervisor.step = step
        with progress.paused():
          if evaluates:
            variables = state.for_evaluation()
            metrics = supervisor.call('evaluation', self._evaluate, eval_step, variables)
            evaluates, top1 = False, metrics['top1']
            self.results.add(step, metrics)
            journal.evaluation(step, metrics, self._result())
            early = self._early(step)
          # While steps are left out the sound checkpoints of before stay.
          if (saves and not self.guard.row) or early or step == self.total_steps:
            supervisor.enter('save')
            checkpoints.save(state, self._meta(), top1)
        if step >= self.total_steps or early:
          break
        before = time.monotonic()
        train_step, batch = supervisor.call('data', next, stream)
        progress.waited(time.monotonic() - before)
        placed = sharding.put_batch(batch, self.mesh, config.accumulate)
        form = train_step, {key: value.shape for key, value in placed.items()}
        if form != compiled:  # by itself: the step takes the state away
          supervisor.call('compile', compile_step, train_step, state, placed)
          compiled = form
        supervisor.enter('step')
        with jax.transfer_guard('disallow'):
          state, metrics = train_step(state, placed)
        step, top1 = step + 1, None
        journal.add(step, metrics)
        if step == first + 1:
          jax.block_until_ready(metrics)
          progress.say(f'time to first step: {time.monotonic() - self._began:.1f} s')
          progress.compiled()
          collect_from_now()
        if step == first + SETTLED:
          jax.block_until_ready(metrics)
          return_freed_memory()
        evaluates, saves = self._due('eval_epochs', step), self._due('save_epochs', step)
        leaves = supervisor.tick()
        if step % config.log_steps == 0 or evaluates or saves or leaves:
          self._write(journal, state)
        if leaves:
          raise Interrupted
    except Interrupted:
      self._write(journal, state)
      raise self._leave(state, step, checkpoints, evaluates, top1) from None
    finally:
      supervisor.close(stream)
      journal.close()
    supervisor.enter('end')
    checkpoints.wait()
    self._finish(state, f', step {step}' + (f'; {early}' if early else ''))

  def _write(self, journal: Journal, state) -> None:
    """Writes the steps that are done; of those that end the training, what is to be known."""
    try:
      journal.write()
    except nonfinite.NonFiniteError as error:
      raise nonfinite.NonFiniteError(f'{error}. {self._dump(error, state)}') from None

  def _dump(self, error: nonfinite.NonFiniteError, state) -> str:
    """Writes what is to be known of the bad steps; where it is and what can be done, in words."""
    if jax.process_index() == 0:
      size = size_at(self.stretches, error.step - 1)
      folder = nonfinite.dump(
        self.workdir, self.dataset, size, error.step, error.values, state.variables
      )
    else:
      folder = self.workdir
    return (
      f'{folder} has the batch, metrics and config; the checkpoints in {self.workdir} are kept. '
      f'Try a lower schedule.lr than {self.config.schedule.lr} or optimizer.clip_norm=1.'
    )

  def _leave(
    self, state, step: int, checkpoints: Checkpoints, evaluates: bool, top1: float | None
  ) -> Interrupted:
    """Saves what there is and returns what to raise.

    Args:
      state: after `step`.
      step: last finished step.
      checkpoints: where to.
      evaluates: that the step's evaluation is left to the next start.
      top1: of the step's evaluation, None where there was none.
    """
    self.supervisor.enter('save')
    checkpoints.settle()
    if step and checkpoints.latest() != step:
      checkpoints.save(state, {**self._meta(), 'evaluates': evaluates}, top1)
      checkpoints.wait()
    what = f'saved at step {step} of {self.total_steps}' if step else 'there was nothing to save'
    return Interrupted(f'{self.supervisor.requested}: {what}; {AGAIN}')

  def _evaluate(self, eval_step, variables) -> dict[str, float]:
    batches, steps = self.dataset.eval(host=jax.process_index(), num_hosts=jax.process_count())
    metrics = evaluate(
      eval_step, place(self.model, variables, self.config, self.mesh),
      self.supervisor.watched(batches), steps, self.info.eval.num_examples, self.task, self.mesh,
    )
    return_freed_memory()
    return metrics

  def _finish(self, state, ending: str) -> None:
    """The last line, the picture and the export."""
    if jax.process_index() == 0:
      from ecanet_jax.training.logging.curves import draw_curves

      draw_curves(read_metrics(self.workdir), self.workdir / 'curves.png', self.config.model.name)
      if self.config.export:
        from ecanet_jax.weights.export import export

        variables = jax.device_get(state.for_evaluation())
        config = plain(self.config)
        result = export(
          config, variables, self.workdir / 'export', data_name=data_name(config),
          evaluation=evaluation_text(config, self.results.last) if self.results.last else '',
        )
        log.info('%s', result)
    self._announce(f'result: {self._result()}{ending}')

  def _result(self) -> str:
    return result_line(
      self.results.last, self.info.eval.name, self.info.eval.num_examples,
      'EMA weights' if self.config.ema.decay else 'weights as trained',
    )

  def _announce(self, line: str) -> None:
    """The line that a program reads: standard output of the first process."""
    if jax.process_index() == 0:
      print(line, flush=True)

  def _meta(self) -> dict[str, Any]:
    config = plain(self.config)
    hashed = {'config': config, 'config_hash': difference.config_hash(config)}
    return {**hashed, **self.results.meta(), **self.guard.meta()}

  def _early(self, step: int) -> str:
    """Why the training ends before its last step, '' if it does not."""
    return self.results.enough(self.config.early_stop) if step < self.total_steps else ''

  def _due(self, key: str, step: int) -> bool:
    """A whole number of `config[key]` epochs, or the training, ends with this step."""
    interval = self.config[key] * self.steps_per_epoch
    whole = interval > 0 and int(step / interval) > int((step - 1) / interval)
    return whole or step == self.total_steps


def compile_step(train_step, state, batch) -> None:
  """Compiles what a call with these arguments runs, and leaves them alone."""
  train_step.lower(state, batch).compile()
  return_freed_memory()


def train_and_evaluate(config, workdir: str | os.PathLike) -> dict[str, Any]:
  """Trains `config` in `workdir`, from its newest checkpoint on, and returns the evaluation."""
  return Trainer(config, workdir).run()


def count(tree) -> int:
  """Number of values in a tree of arrays."""
  return sum(leaf.size for leaf in jax.tree.leaves(tree))
