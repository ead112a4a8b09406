"""Which task a config trains."""

from collections.abc import Mapping, Sequence
from typing import Any

from ecanet_jax.runtime.errors import UserError
from ecanet_jax.tasks.classification import Classification
from ecanet_jax.tasks.multi_label import MultiLabelClassification
from ecanet_jax.tasks.task import Metric


def has_several_labels(config) -> bool:
  """Whether an image of the data set has any number of labels, and a network learns all of them.

  ImageNet-ReaL is another case: several labels of an image are right there, and a network with one
  answer is evaluated.
  """
  return config.data.source == 'csv' and bool(config.data.label_separator)


def make_task(config, class_weights: Sequence[float] = ()) -> Classification:
  """The task of a training.

  Args:
    config: the whole config.
    class_weights: from `tasks.class_weights`.

  Raises:
    UserError: a loss that the task cannot have.
  """
  if not has_several_labels(config):
    return Classification(config, class_weights)
  task = MultiLabelClassification(config, class_weights)
  if config.loss.name != 'bce':
    raise UserError(
      f"loss.name={config.loss.name!r} is for one label per image: set --config.loss.name=bce, or "
      "--config.data.label_separator=''."
    )
  return task


def shown_metrics(metrics: Mapping[str, Any]) -> tuple[Metric, ...]:
  """Those that the task of an evaluation shows, found by the names in its metrics."""
  tasks = (Classification, MultiLabelClassification)
  return next(task.shown for task in tasks if task.headline.name in metrics)
