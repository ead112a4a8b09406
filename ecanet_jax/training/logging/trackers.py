"""Experiment trackers: services that get a training's figures beside metrics.jsonl.

`config.trackers` names some of TRACKERS. For another service, write a class with the methods of
`Tracker` and add it to TRACKERS before the training starts.
"""

import importlib
import os
from collections.abc import Mapping
from typing import Any, Protocol

import jax

from ecanet_jax.config.trees import flat, plain
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, lookup, one_line
from ecanet_jax.runtime.log import log

PROJECT = 'ecanet_jax'  # where the service's own variable does not name another
PARAMETERS = 100  # most that MLflow takes in one call


class Tracker(Protocol):
  """A service's run. A training that resumes goes on with its run.

  `__init__` gets the config and the workdir; a workdir may be at a gs:// address.
  """

  def write(self, step: int, figures: Mapping[str, float]) -> None:
    """Sends figures by name, such as 'train/loss', of one step."""

  def close(self) -> None:
    """Sends what is left, and ends."""


class WandB:
  """Weights & Biases. WANDB_PROJECT, WANDB_ENTITY and WANDB_MODE are its own variables."""

  def __init__(self, config, workdir: paths.Path):
    import wandb

    remembered = workdir / 'wandb_run'
    self._run = wandb.init(
      project=os.environ.get('WANDB_PROJECT', PROJECT), config=plain(config),
      dir=None if paths.is_remote(workdir) else os.fspath(workdir),
      id=remembered.read_text() if remembered.exists() else None, resume='allow',
    )
    paths.write_whole(remembered, self._run.id)

  def write(self, step: int, figures: Mapping[str, float]) -> None:
    self._run.log(dict(figures), step=step)

  def close(self) -> None:
    self._run.finish()


class MLflow:
  """MLflow. MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME are its own variables."""

  def __init__(self, config, workdir: paths.Path):
    import mlflow

    self._mlflow, remembered = mlflow, workdir / 'mlflow_run'
    mlflow.set_experiment(os.environ.get('MLFLOW_EXPERIMENT_NAME', PROJECT))
    if remembered.exists():
      mlflow.start_run(run_id=remembered.read_text())
      return
    run = mlflow.start_run(run_name=workdir.name)
    values = list(flat(plain(config)).items())
    for first in range(0, len(values), PARAMETERS):
      mlflow.log_params(dict(values[first : first + PARAMETERS]))
    paths.write_whole(remembered, run.info.run_id)

  def write(self, step: int, figures: Mapping[str, float]) -> None:
    self._mlflow.log_metrics(dict(figures), step=step)

  def close(self) -> None:
    self._mlflow.end_run()


TRACKERS = {'wandb': WandB, 'mlflow': MLflow}


def check_trackers(config) -> None:
  """Raises UserError for a tracker that is not known or not installed."""
  for name in config.trackers:
    tracker = lookup(TRACKERS, name, 'tracker')
    if tracker in (WandB, MLflow):
      try:
        importlib.import_module(name)
      except ImportError as error:
        raise UserError(
          f'trackers={config.trackers} needs {name} ({one_line(error)}): pip install {name}'
        ) from error


class Trackers:
  """The trackers of a training; only the first process has any. A failure is a warning."""

  def __init__(self, config, workdir: paths.Path):
    """Starts them.

    Raises:
      UserError: a service refuses the run.
    """
    self._trackers: dict[str, Tracker] = {}
    for name in config.trackers if jax.process_index() == 0 else ():
      try:
        self._trackers[name] = TRACKERS[name](config, workdir)
      except Exception as error:  # of the service, of any type
        raise UserError(f'tracker {name!r} cannot start: {one_line(error)}.') from error

  def write(self, step: int, prefix: str, figures: Mapping[str, Any]) -> None:
    """Sends the numbers among `figures` as `{prefix}/{name}`."""
    numbers = {
      f'{prefix}/{name}': value for name, value in figures.items()
      if isinstance(value, int | float)
    }
    for name, tracker in self._trackers.items():
      try:
        tracker.write(step, numbers)
      except Exception as error:  # of the service, of any type
        log.warning('tracker %r has no figures of step %d: %s', name, step, one_line(error))

  def close(self) -> None:
    for name, tracker in self._trackers.items():
      try:
        tracker.close()
      except Exception as error:  # of the service, of any type
        log.warning('tracker %r did not end: %s', name, one_line(error))
