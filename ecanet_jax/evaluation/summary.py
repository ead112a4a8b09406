"""An evaluation in words: the result line, and the origin of weights."""

from collections.abc import Mapping
from typing import Any

from ecanet_jax.tasks.choice import shown_metrics
from ecanet_jax.tasks.task import Task


def result_line(
  task: Task, metrics: Mapping[str, Any], data: str, expected: int, weights: str
) -> str:
  """The line that reports an evaluation.

  Args:
    task: its metrics are shown.
    metrics: from `evaluate`.
    data: name of the split.
    expected: number of images in it.
    weights: description of the evaluated weights.
  """
  figures = []
  for metric in task.shown:
    figures.append(f'{metric.title} {metric.show(metrics[metric.name])}')
    if metric == task.headline and f'{metric.name}_count' in metrics:
      figures[-1] += f' ({metrics[f"{metric.name}_count"]:,})'
  if 'loss' in metrics:
    figures.append(f'loss {metrics["loss"]:.4f}')
  rest = f', {metrics["left_out"]:,} without a label' if metrics.get('left_out') else ''
  return (
    f'{", ".join(figures)} on '
    f'{metrics["seen"]:,} of {expected:,} images of {data}{rest}; {weights}'
  )


def data_name(config: Mapping[str, Any]) -> str:
  """The data set of a config in words."""
  data = config['data']
  if data['source'] == 'csv':
    return data['csv'] or data['train_split']
  if data['source'] == 'coco':
    return data['train_json']
  if data['source'] == 'scenes':
    return 'digit scenes'
  return f'image folder {data["data_dir"]}' if data['source'] == 'folder' else data['name']


def origin(config: Mapping[str, Any], metrics: Mapping[str, Any] | None) -> tuple[str, str]:
  """The training data of weights, and their evaluation with its images and step.

  Args:
    config: of the training.
    metrics: from `load_saved`.

  Returns:
    Two texts; '' for what is unknown.
  """
  if metrics is None:
    return '', ''
  if not metrics:
    return data_name(config), ''
  figures = ', '.join(
    f'{metric.title} {metric.show(metrics[metric.name])}' for metric in shown_metrics(metrics)
  )
  return data_name(config), (
    f'{figures} on all {metrics["seen"]:,} images of {config["data"]["eval_split"]} of '
    f'{data_name(config)}, step {metrics["step"]}'
  )
