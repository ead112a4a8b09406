"""The curves of a training: loss, the task's metrics, learning rate, speed."""

from collections.abc import Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ecanet_jax.runtime import paths
from ecanet_jax.tasks.task import Metric


def draw_curves(
  lines: list[dict[str, Any]], path: paths.Path, title: str, metrics: Sequence[Metric]
) -> None:
  """Draws a PNG from the lines of metrics.jsonl.

  Args:
    lines: from `read_metrics`.
    path: of the PNG.
    title: of the figure.
    metrics: of the task, drawn in one panel that is named after the first.
  """
  series = tuple((f'eval/{metric.name}', metric.title) for metric in metrics)
  panels = (
    ('loss (cross-entropy)', (('train/loss', 'training'), ('eval/loss', 'evaluation')), 1.0),
    (metrics[0].heading, series, metrics[0].scale),
    ('learning rate', (('train/lr', 'learning rate'),), 1.0),
    ('training images/s', (('train/images_per_second', 'images/s'),), 1.0),
  )
  figure = Figure(figsize=(10, 7), layout='constrained')
  FigureCanvasAgg(figure)
  figure.suptitle(title)
  for axes, (label, series, factor) in zip(figure.subplots(2, 2).flat, panels, strict=True):
    for key, name in series:
      points = [(line['step'], factor * line[key]) for line in lines if key in line]
      if points:
        axes.plot(*zip(*points, strict=True), label=name, marker='.' if len(points) < 60 else None)
    if len(series) > 1 and axes.lines:
      axes.legend()
    axes.set_xlabel('step')
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
  paths.write_figure(path, figure, dpi=100)
