"""The curves of a training: loss, the task's metrics, learning rate, speed."""

import statistics
from collections.abc import Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ecanet_jax.runtime import paths
from ecanet_jax.tasks.task import Metric

FEW = 60  # points that are marked


def draw_curves(
  lines: list[dict[str, Any]], path: paths.Path, title: str, metrics: Sequence[Metric],
  training_loss: str = '',
) -> None:
  """Draws a PNG from the lines of metrics.jsonl, over the epochs.

  Args:
    lines: from `read_metrics`.
    path: of the PNG.
    title: of the figure.
    metrics: of the task, drawn in one panel that is named after the first.
    training_loss: how the training loss differs from the loss of an evaluation; '' = it does not.
  """
  figure = Figure(figsize=(10, 7), layout='constrained')
  FigureCanvasAgg(figure)
  figure.suptitle(title, fontsize=11)
  (loss, accuracy), (rate, speed) = figure.subplots(2, 2)
  epochs = _epochs(lines)

  def draw(axes, key: str, name: str, scale: float = 1.0) -> list[float]:
    """Draws one figure of the lines, and returns its values."""
    points = [(epochs * line['step'], scale * line[key]) for line in lines if key in line]
    if points:
      marker = '.' if len(points) < FEW else None
      axes.plot(*zip(*points, strict=True), label=name, marker=marker)
    return [value for _, value in points]

  losses = draw(loss, 'train/loss', f'training ({training_loss})' if training_loss else 'training')
  losses += draw(loss, 'eval/loss', 'evaluation')
  loss.set_ylabel('loss')
  if losses and min(losses) > 0:
    loss.set_yscale('log')
  for metric in metrics:
    draw(accuracy, f'eval/{metric.name}', metric.title, metric.scale)
  if len({metric.unit for metric in metrics}) == 1:
    titles = ', '.join(metric.title for metric in metrics)
    accuracy.set_ylabel(f'{titles}, {metrics[0].unit}'.rstrip(', '))
  else:
    accuracy.set_ylabel(', '.join(metric.heading for metric in metrics))
  draw(rate, 'train/lr', 'learning rate')
  rate.set_ylabel('learning rate')
  images = draw(speed, 'train/images_per_second', 'images/s')
  speed.set_ylabel('images/s of the training steps alone')
  if images:
    middle = statistics.median(images)
    speed.axhline(middle, color='grey', linestyle='--', label=f'median {middle:,.0f}')
  speed.set_ylim(bottom=0)
  for axes in (loss, accuracy, rate, speed):
    if len(axes.lines) > 1:
      axes.legend(fontsize=9)
    axes.set_xlim(left=0)
    axes.set_xlabel('epoch')
    axes.grid(alpha=0.3)
  paths.write_figure(path, figure, dpi=100)


def _epochs(lines: list[dict[str, Any]]) -> float:
  """The epochs of a step."""
  last = next((line for line in reversed(lines) if 'train/epoch' in line), None)
  return last['train/epoch'] / last['step'] if last else 1.0
