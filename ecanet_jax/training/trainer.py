"""The trainer: from a config to a trained network in a directory, resumable after any step."""

import functools
import json
import os
import time
from collections.abc import Collection
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from ecanet_jax.checkpoints.files import is_checkpoint
from ecanet_jax.checkpoints.manager import Checkpoints
from ecanet_jax.config import difference, schema
from ecanet_jax.config.trees import config_hash, plain
from ecanet_jax.data.augmentation import settings
from ecanet_jax.data.summary import DataSummary
from ecanet_jax.detection.from_config import make_network
from ecanet_jax.evaluation.evaluate import evaluate, evaluated, make_eval_step, place
from ecanet_jax.evaluation.summary import result_line
from ecanet_jax.runtime import paths, sharding
from ecanet_jax.runtime.accelerators import log_devices
from ecanet_jax.runtime.errors import Interrupted, UserError
from ecanet_jax.runtime.log import log, start_log_once
from ecanet_jax.tasks.choice import make_task, open_data
from ecanet_jax.tasks.class_weights import class_weights
from ecanet_jax.tasks.distillation import read_teacher
from ecanet_jax.training import pretrained_init, processes, resume
from ecanet_jax.training.accumulation import check_parts
from ecanet_jax.training.early_stopping import EvaluationHistory, check_early_stop
from ecanet_jax.training.faults.dump import with_dump
from ecanet_jax.training.faults.nonfinite import NonFiniteCounter, NonFiniteError
from ecanet_jax.training.faults.preemption import Preemption
from ecanet_jax.training.finish import finish
from ecanet_jax.training.logging.train_log import TrainLog, check_logging
from ecanet_jax.training.logging.utilization import Utilization
from ecanet_jax.training.optimizer import make_optimizer
from ecanet_jax.training.progressive_resizing import check_sizes, size_at, stretches
from ecanet_jax.training.schedule import make_schedule, peak_learning_rate, training_steps
from ecanet_jax.training.state import TrainState, init_state, state_shapes
from ecanet_jax.training.step import make_train_step
from ecanet_jax.training.train_batches import step_stream


class Trainer:
  """A training of one config in one directory."""

  def __init__(self, config, workdir: str | os.PathLike, given: Collection[str] = ()):
    """Checks the config and prepares everything but the state.

    With `init.weights` the config is a copy that has the weights' values for keys not in `given`.

    Raises:
      UserError: a key that breaks its rule or does not fit another one, the data or the devices.
    """
    self._began = time.monotonic()
    schema.check(config)
    if not str(workdir):
      raise UserError(
        'workdir= must be a directory, the same one on all machines: --workdir=runs/NAME or '
        '--workdir=gs://BUCKET/NAME.'
      )
    self.workdir = paths.to_path(workdir)
    processes.check_configuration(config, workdir)
    config, self._weights = pretrained_init.resolve(config, workdir, given)
    self.config = config
    self.mesh = sharding.make_mesh()
    sharding.check_batch('batch_size', config.batch_size, self.mesh)
    settings.check(config)
    check_parts(config, self.mesh)
    check_logging(config)
    self.dataset = open_data(config, self.workdir)
    self.info = self.dataset.info
    pretrained_init.take_classes(config, self.info.num_classes, given)
    processes.check_data(self.info)
    resume.check_class_count(self.workdir, DataSummary.of(self.info), config)
    self.model = make_network(config, self.info.num_classes, self.mesh)
    weights = class_weights(config, self.dataset)
    self.task = make_task(config, weights, self.model, self.dataset)
    self.steps_per_epoch = self.info.train.num_examples / config.batch_size
    self.total_steps = training_steps(config, self.steps_per_epoch)
    self.stretches = stretches(config, self.steps_per_epoch, self.total_steps)
    sizes = {part.size for part in self.stretches}
    check_sizes(self.model, config.data.image_size, sizes)
    self.teacher = read_teacher(config, self.info, self.mesh, sizes)
    self.schedule = make_schedule(config, self.steps_per_epoch, self.total_steps)
    self.tx = make_optimizer(config, self.schedule, self.model.is_frozen, self.model.stages_behind)
    check_early_stop(config)
    self.history = EvaluationHistory(self.task.headline)
    self.nonfinite = NonFiniteCounter(config.bad_steps)
    self.preemption = Preemption(config.watchdog_seconds)

  def run(self) -> dict[str, Any]:
    """Trains to the end and returns the metrics of the last evaluation.

    Raises:
      UserError: a checkpoint of another network or one that cannot be read; unsuitable weights to
        start from, or unreadable images in a folder, before anything is written.
      NonFiniteError: loss or gradient were not finite for too many steps in a row.
      SaveError: too many saves in a row failed, or the last one.
      Interrupted: SIGTERM or SIGINT was received; the training is saved.
    """
    with self.preemption:
      return self._run()

  def _run(self) -> dict[str, Any]:
    self.dataset.check()
    loaded = {}
    if self._weights and not is_checkpoint(self.workdir):
      loaded = pretrained_init.initial_weights(
        self.config, self.model, self._weights, self.info.label_names
      )
    self._weights = None
    processes.prepare_workdir(self.workdir)
    if jax.process_index() == 0:
      self.dataset.record(self.workdir)
    log_devices()
    checkpoints = Checkpoints(self.workdir, self.config.keep_checkpoints)
    try:
      state, evaluation_due = self._start(checkpoints, loaded)
      step = int(state.step)
      early = self._reason_to_stop(step)
      if (step >= self.total_steps or early) and not evaluation_due:
        self._announce(
          f'nothing to do: {self.workdir} is at step {step} of {self.total_steps}'
          + (f'; {early}' if early else '')
        )
      else:
        self._train(state, step, checkpoints, evaluation_due)
    except jax.errors.JaxRuntimeError as error:
      self.preemption.end_if_lost(error)
      raise
    finally:
      checkpoints.close()
    return self.history.last

  def _start(
    self, checkpoints: Checkpoints, loaded: dict[str, np.ndarray]
  ) -> tuple[TrainState, bool]:
    """The state of the newest checkpoint, or a fresh one with the weights to start from.

    Returns:
      The state, and whether the evaluation of its step is still due.
    """
    parts = self.model, self.tx, self.config, self.task.example()
    step = checkpoints.latest()
    if step is None:
      return init_state(*parts, self.mesh, loaded), False
    meta, now = checkpoints.meta(step), plain(self.config)
    difference.compare(meta['config'], now)
    resume.check_data(self.workdir, meta.get('data'), self.info, self.config)
    shapes = state_shapes(*parts).items()
    items = checkpoints.restore(step, shapes, sharding.replicated(self.mesh))
    resume.check(checkpoints.directory / str(step), meta['config'], now, self.model)
    resume.check_teacher(self.workdir, meta.get('teacher'), self.teacher, self.config)
    self.history.restore(meta)
    self.nonfinite.restore(meta)
    resume.report(self.workdir, step, self.total_steps)
    return TrainState.of(items), meta.get('evaluates', False)

  def _train(
    self, state: TrainState, step: int, checkpoints: Checkpoints, evaluation_due: bool
  ) -> None:
    """Trains from `step` to the end, or until the training is interrupted."""
    self._log_start(state)
    config, preemption, first = self.config, self.preemption, step
    train_log = TrainLog(
      config, self.workdir, step, self.total_steps, self.steps_per_epoch, self.nonfinite,
      Utilization(self.model, self.stretches, list(self.mesh.devices.flat),
                  gradients=2 if config.optimizer.sam_rho else 1),
    )
    progress = train_log.progress
    make_step = functools.partial(
      make_train_step, self.model, self.task, self.tx, self.schedule, config, self.mesh,
      teacher=self.teacher,
    )
    stream = step_stream(self.dataset, self.stretches, step, make_step)
    eval_step = make_eval_step(evaluated(self.model, config), self.task, self.mesh)
    save_due, early, score = evaluation_due, '', None
    try:
      while True:
        preemption.step = step
        with progress.paused():
          if evaluation_due:
            metrics = self._evaluate(eval_step, state.for_evaluation())
            evaluation_due, score = False, self.task.headline.score(metrics)
            self.history.add(step, metrics)
            train_log.evaluation(step, metrics, self._result())
            early = self._reason_to_stop(step)
          # After a step that was not finite, the checkpoints of good steps must not be replaced.
          if (save_due and not self.nonfinite.row) or early or step == self.total_steps:
            preemption.enter('save')
            train_log.publish()  # a checkpoint never has steps that the log lacks
            checkpoints.save(step, state.items(), self._meta(), score)
        if step >= self.total_steps or early:
          break
        preemption.enter('data')
        with progress.waiting():
          train_step, batch = next(stream)
        preemption.check()
        preemption.enter('step')
        batch = sharding.put_batch(batch, self.mesh, config.accumulate)
        with train_log.dispatching(step + 1), jax.transfer_guard('disallow'):
          state, metrics = train_step(state, batch)
        step, score = step + 1, None
        train_log.add(step, metrics)
        if step == first + 1:
          jax.block_until_ready(metrics)
          progress.say(f'time to first step: {time.monotonic() - self._began:.1f} s')
          progress.compiled()
        evaluation_due, save_due = self._due('eval_epochs', step), self._due('save_epochs', step)
        preemption.check()
        if step % config.log_steps == 0 or evaluation_due or save_due:
          self._write(train_log, state)
    except Interrupted:
      self._write(train_log, state)
      train_log.publish()
      raise self._leave(state, step, checkpoints, evaluation_due, score) from None
    finally:
      stream.close()
      train_log.close()
    preemption.enter('end')
    checkpoints.wait()
    finish(self.workdir, config, self.task, state, self.history.last, self.info)
    ending = f', step {step}' + (f'; {early}' if early else '')
    self._announce(f'result: {self._result()}{ending}')

  def _log_start(self, state: TrainState) -> None:
    """Writes a summary of the training to the log, and config.json."""
    config, parameters = self.config, jax.tree.leaves(state.variables['params'])
    log.info(
      '%s: %s parameters, %d devices, %d steps of %d images (%s), peak learning rate %g',
      config.model.name, f'{sum(leaf.size for leaf in parameters):,}', self.mesh.devices.size,
      self.total_steps, config.batch_size, self.info.train.name, peak_learning_rate(config),
    )
    if config.data.size_schedule:
      log.info('image sizes: %s', ', '.join(
        f'{part.size} px from step {part.first} on' for part in self.stretches
      ))
    if jax.process_index() == 0:
      text = json.dumps(plain(config), indent=2) + '\n'
      paths.write_whole(self.workdir / 'config.json', text)

  def _write(self, train_log: TrainLog, state: TrainState) -> None:
    """Logs the finished steps; if they end the training, also dumps the last one."""
    try:
      train_log.write()
    except NonFiniteError as error:
      size = size_at(self.stretches, error.step - 1)
      raise with_dump(error, self.workdir, self.dataset, size, state.variables) from None

  def _leave(
    self, state: TrainState, step: int, checkpoints: Checkpoints, evaluation_due: bool,
    score: float | None,
  ) -> Interrupted:
    """Saves the state after `step`, and returns the exception to raise.

    Args:
      state: the state to save.
      step: the last finished step.
      checkpoints: where to save it.
      evaluation_due: whether the next start must evaluate this step.
      score: of this step's evaluation; None if there was none.
    """
    self.preemption.enter('save')
    checkpoints.settle()
    if step and checkpoints.latest() != step:
      meta = {**self._meta(), 'evaluates': evaluation_due}
      checkpoints.save(step, state.items(), meta, score)
      checkpoints.wait()
    what = f'saved at step {step} of {self.total_steps}' if step else 'there was nothing to save'
    return Interrupted(
      f'{self.preemption.requested}: {what}; the same command resumes from there.'
    )

  def _evaluate(self, eval_step, variables) -> dict[str, Any]:
    self.preemption.enter('evaluation')
    batches, steps = self.dataset.eval(host=jax.process_index(), num_hosts=jax.process_count())
    return evaluate(
      eval_step, place(self.model, variables, self.config, self.mesh),
      self.preemption.checked(batches), steps, self.info.eval.num_examples, self.task, self.mesh,
    )

  def _result(self) -> str:
    return result_line(
      self.task, self.history.last, self.info.eval.name, self.info.eval.num_examples,
      'EMA weights' if self.config.ema.decay else 'weights as trained',
    )

  def _announce(self, line: str) -> None:
    """Prints a line for other programs to standard output, in the first process."""
    if jax.process_index() == 0:
      print(line, flush=True)

  def _meta(self) -> dict[str, Any]:
    """The JSON part of a checkpoint."""
    config = plain(self.config)
    return {
      'config': config, 'config_hash': config_hash(config),
      'teacher': self.teacher and self.teacher.checksum,
      'data': DataSummary.of(self.info).to_json(), **self.history.meta(), **self.nonfinite.meta(),
    }

  def _reason_to_stop(self, step: int) -> str:
    """Why the training ends before its last step; '' if it does not."""
    patience = self.config.early_stop
    return self.history.reason_to_stop(patience) if step < self.total_steps else ''

  def _due(self, key: str, step: int) -> bool:
    """Whether this step completes a multiple of `config[key]` epochs, or the training."""
    interval = self.config[key] * self.steps_per_epoch
    whole = interval > 0 and int(step / interval) > int((step - 1) / interval)
    return whole or step == self.total_steps


def train_and_evaluate(
  config: ConfigDict, workdir: str | os.PathLike, given: Collection[str] = ()
) -> dict[str, Any]:
  """Trains a network, or resumes its training; returns the last evaluation's metrics.

  Args:
    config: from `ecanet_jax.config.get_config()` or `ecanet_jax.config.recipe(NAME)`.
    workdir: for what it writes; local or gs://. The log goes to standard error, unless the logger
      'ecanet_jax' is set up already.
    given: keys that `init.weights` must not change, such as 'model.name'.
  """
  start_log_once()
  return Trainer(config, workdir, given).run()
