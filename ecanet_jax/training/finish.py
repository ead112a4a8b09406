"""The files at the end of a training: curves, and weights for PyTorch."""

import datetime
from typing import Any

import jax

from ecanet_jax.config.trees import plain
from ecanet_jax.data import DatasetInfo
from ecanet_jax.evaluation.summary import data_name, origin
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.log import log
from ecanet_jax.tasks.task import Task
from ecanet_jax.training.logging.writers import read_metrics
from ecanet_jax.training.state import TrainState


def finish(
  workdir: paths.Path, config, task: Task, state: TrainState, metrics: dict[str, Any],
  info: DatasetInfo,
) -> None:
  """Writes curves.png, and with `config.export` the folder export, in the first process.

  Args:
    workdir: of the training.
    config: the whole config.
    task: its metrics are drawn.
    state: the final state.
    metrics: of the last evaluation.
    info: of the data set.
  """
  if jax.process_index() > 0:
    return
  from ecanet_jax.training.logging.curves import draw_curves

  title = f'{config.model.name} on {data_name(config)}, {datetime.date.today()}'
  lines = read_metrics(workdir)
  draw_curves(lines, workdir / 'curves.png', title, task.shown, task.training_loss)
  if config.export:
    from ecanet_jax.weights.export import export

    config, variables = plain(config), jax.device_get(state.for_evaluation())
    data, evaluation = origin(config, metrics)
    log.info('%s', export(
      config, variables, workdir / 'export', label_names=info.label_names,
      multi_label=info.multi_label, data_name=data, evaluation=evaluation,
    ))
