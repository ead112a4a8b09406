"""The headline metric of several trainings, over images seen or over time."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from ecanet_jax.runtime import paths
from ecanet_jax.tasks.task import Metric

_UNITS = ((3600, 'hours'), (60, 'minutes'), (1, 'seconds'))
_ENOUGH = 3  # the smallest number for which a larger unit of time is used


@dataclasses.dataclass(frozen=True)
class Curve:
  """The evaluations of one training, in order.

  Attributes:
    images: seen until then.
    seconds: of training until then.
    values: of the headline metric.
  """

  images: Sequence[int]
  seconds: Sequence[float]
  values: Sequence[float]


def smoothed(values: np.ndarray, window: int) -> np.ndarray:
  """The centred mean of up to `window` (odd) values along the last axis.

  Near the ends it covers fewer values, as many on either side. So the last value is kept, and
  rising curves are not shifted.
  """
  count = values.shape[-1]
  reach = [min(window // 2, i, count - 1 - i) for i in range(count)]
  return np.stack(
    [values[..., i - r : i + r + 1].mean(-1) for i, r in enumerate(reach)], axis=-1
  )


def draw_curves(
  curves: Mapping[str, Sequence[Curve]], axis: str, path: paths.Path, smooth: int,
  metric: Metric, title: str,
) -> None:
  """Draws a PNG of the whole training, with its end enlarged.

  A line is the mean over the seeds; its band is one standard deviation (n - 1) on either side.

  Args:
    curves: of each network, one per seed, with the same number of evaluations.
    axis: 'images' or 'seconds'.
    path: of the PNG.
    smooth: number of evaluations averaged in a point, odd.
    metric: the headline metric.
    title: what was trained on which data.
  """
  figure = Figure(figsize=(11, 5.5), layout='constrained')
  FigureCanvasAgg(figure)
  panels = whole, end = figure.subplots(1, 2)
  longest = max(curve.seconds[-1] for group in curves.values() for curve in group)
  scale, unit = next((u for u in _UNITS if longest >= _ENOUGH * u[0]), _UNITS[-1])
  lines, drawn = [], []
  for name, group in curves.items():
    x = np.mean([getattr(curve, axis) for curve in group], axis=0)
    x = x / scale if axis == 'seconds' else x
    seeds = metric.scale * np.array([curve.values for curve in group])
    mean, deviation = _mean_and_deviation(smoothed(seeds, smooth))
    low, high = mean - deviation, mean + deviation
    high = np.minimum(high, 100) if metric.unit == '%' else high
    spread = f' ± {deviation[-1]:.2f}' if len(group) > 1 else ''
    label = f'{name}: {mean[-1]:.2f}{spread} {metric.unit} (n = {len(group)})'
    drawn.append((x, low, high))
    for axes in panels:
      (line,) = axes.plot(x, mean, label=label, marker='.' if len(x) < 60 else None)
      axes.fill_between(x, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    lines.append(line)
  _zoom(whole, end, drawn)
  for axes, part in zip(panels, ('whole training', 'its end'), strict=True):
    axes.set_title(part)
    axes.set_ylabel(metric.heading)
    axes.grid(alpha=0.3)
    if axis == 'images':
      axes.set_xlabel('training images seen')
      axes.xaxis.set_major_formatter(EngFormatter(sep=''))
    else:
      axes.set_xlabel(f'time of training, {unit}, without evaluation')
  figure.legend(
    handles=lines, loc='outside lower center', ncols=min(len(lines), 3), title='last evaluation'
  )
  points = f'; each point the mean of up to {smooth} evaluations' if smooth > 1 else ''
  figure.suptitle(f'{title}\nmean over the seeds ± standard deviation{points}', fontsize=11)
  paths.write_figure(path, figure, dpi=100)


def _mean_and_deviation(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Over the first axis; the deviation of a single row is 0."""
  mean = values.mean(0)
  return mean, values.std(0, ddof=1) if len(values) > 1 else np.zeros_like(mean)


def _zoom(whole, end, drawn: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
  """Sets the limits: everything, and the part from two thirds of the shortest training on."""
  last = max(x[-1] for x, _, _ in drawn)
  first = 2 / 3 * min(x[-1] for x, _, _ in drawn)
  whole.set_xlim(0, 1.02 * last)
  end.set_xlim(first, first + 1.02 * (last - first))
  low = min(below[x >= first].min() for x, below, _ in drawn)
  high = max(above[x >= first].max() for x, _, above in drawn)
  margin = max(0.06 * (high - low), 0.1)
  end.set_ylim(low - margin, high + margin)
