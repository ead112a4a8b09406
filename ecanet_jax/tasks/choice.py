"""Which data and which task a config trains."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn

from ecanet_jax import data
from ecanet_jax.data.detection.open import SOURCES as DETECTION_SOURCES
from ecanet_jax.data.detection.open import open_detection
from ecanet_jax.detection.from_config import is_detector
from ecanet_jax.detection.networks.faster_rcnn import MaskRCNN
from ecanet_jax.detection.registry import detector_record
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.tasks.classification import Classification
from ecanet_jax.tasks.detection.detection import BOX_AP, MASK_AP, Detection
from ecanet_jax.tasks.detection.unused_keys import check_unused
from ecanet_jax.tasks.multi_label import MultiLabelClassification
from ecanet_jax.tasks.task import Metric, Task


def has_several_labels(config) -> bool:
  """Whether an image of the data set has any number of labels, and a network learns all of them.

  ImageNet-ReaL is another case: several labels of an image are right there, and a network with one
  answer is evaluated.
  """
  return config.data.source == 'csv' and bool(config.data.label_separator)


def open_data(config, workdir: 'paths.Path | None' = None) -> data.Dataset:
  """Opens the data set of a config; see `data.open`.

  Raises:
    UserError: see `data.open`; the data are not those of the network's task, or a key has no use.
  """
  name, source = config.model.name, config.data.source
  if not is_detector(name):
    if source in DETECTION_SOURCES:
      raise UserError(
        f'data.source={source!r} has boxes for detectors, and model.name={name!r} is none; set '
        '--config.model.name=mask_rcnn_r50_fpn.'
      )
    return data.open(config, workdir)
  if source in data.SOURCES:
    raise UserError(
      f'model.name={name!r} is a detector, and data.source={source!r} has no boxes; set '
      f'--config.data.source to one of {", ".join(DETECTION_SOURCES)}.'
    )
  check_unused(config)
  return open_detection(config, issubclass(detector_record(name).network, MaskRCNN))


def make_task(
  config, class_weights: Sequence[float] = (), model: nn.Module | None = None,
  dataset: data.Dataset | None = None,
) -> Task:
  """The task of a training.

  Args:
    config: the whole config.
    class_weights: from `tasks.class_weights`.
    model: the network; a detector's task needs it.
    dataset: the opened data set; a detector needs it for its evaluation.

  Raises:
    UserError: a loss that the task cannot have.
  """
  if is_detector(config.model.name):
    return Detection(config, model, dataset)
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
  tasks = (Classification.shown, MultiLabelClassification.shown, (BOX_AP, MASK_AP))
  shown = next(shown for shown in tasks if shown[0].name in metrics)
  return tuple(metric for metric in shown if metric.name in metrics)
