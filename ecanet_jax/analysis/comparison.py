"""Top-1 of several networks while they train, over the images seen or over the time."""

import dataclasses
import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

_UNITS = ((3600, 'hours'), (60, 'minutes'), (1, 'seconds'))
_ENOUGH = 3  # a unit of time is used from so many on


@dataclasses.dataclass(frozen=True)
class Curve:
  """The evaluations of one training, in order.

  Attributes:
    images: seen until then.
    seconds: of training until then.
    top1: a fraction.
  """

  images: Sequence[int]
  seconds: Sequence[float]
  top1: Sequence[float]


def smoothed(values: np.ndarray, window: int) -> np.ndarray:
  """The centred mean of up to `window` (odd) values along the last axis.

  Near the ends it is of fewer, as many on either side, so that the last value is kept and rising
  curves are not shifted.
  """
  count = values.shape[-1]
  reach = [min(window // 2, i, count - 1 - i) for i in range(count)]
  return np.stack(
    [values[..., i - r : i + r + 1].mean(-1) for i, r in enumerate(reach)], axis=-1
  )


def draw_top1(
  curves: Mapping[str, Sequence[Curve]], axis: str, path: str | os.PathLike, smooth: int
) -> None:
  """Draws a PNG: the whole training, and its last third larger.

  A line is the mean over the seeds, its band the standard deviation (n - 1) on either side.

  Args:
    curves: of each network, one for each seed, with the same number of evaluations.
    axis: 'images' or 'seconds'.
    path: of the PNG.
    smooth: evaluations of which a point is the mean, odd.
  """
  figure = Figure(figsize=(11, 5), layout='constrained')
  FigureCanvasAgg(figure)
  whole, end = figure.subplots(1, 2)
  longest = max(curve.seconds[-1] for group in curves.values() for curve in group)
  scale, unit = next((u for u in _UNITS if longest >= _ENOUGH * u[0]), _UNITS[-1])
  last_x, low, high = 0.0, 1.0, 0.0
  for name, group in curves.items():
    x = np.mean([getattr(curve, axis) for curve in group], axis=0)
    x = x / scale if axis == 'seconds' else x
    seeds = np.array([curve.top1 for curve in group])
    values = smoothed(seeds, smooth)
    mean = values.mean(0)
    deviation = values.std(0, ddof=1) if len(group) > 1 else np.zeros_like(mean)
    label = f'{name}: {100 * seeds[:, -1].mean():.2f}'
    if len(group) > 1:
      label += f' ± {100 * seeds[:, -1].std(ddof=1):.2f}'
    for axes in (whole, end):
      (line,) = axes.plot(
        x, 100 * mean, label=f'{label} % (n = {len(group)})', marker='.' if len(x) < 60 else None,
      )
      axes.fill_between(
        x, 100 * (mean - deviation), 100 * np.minimum(mean + deviation, 1.0),
        color=line.get_color(), alpha=0.15, linewidth=0,
      )
    last = x >= 2 / 3 * x[-1]
    last_x = max(last_x, x[-1])
    low, high = min(low, (mean - deviation)[last].min()), max(high, (mean + deviation)[last].max())
  margin = max(0.08 * (min(high, 1.0) - low), 1e-3)
  whole.set_xlim(0, 1.02 * last_x)
  end.set_xlim(2 / 3 * last_x, 1.01 * last_x)
  end.set_ylim(100 * (low - margin), 100 * min(high + margin, 1 + margin / 2))
  whole.legend(loc='lower right', title='last evaluation')
  whole.set_title('whole training')
  end.set_title('last third')
  for axes in (whole, end):
    axes.set_ylabel('top-1, %')
    axes.grid(alpha=0.3)
    if axis == 'images':
      axes.set_xlabel('training images seen')
      axes.xaxis.set_major_formatter(EngFormatter(sep=''))
    else:
      axes.set_xlabel(f'time of training, {unit}, without evaluation')
  points = f'; each point the mean of up to {smooth} evaluations' if smooth > 1 else ''
  figure.suptitle(f'Mean over the seeds ± standard deviation{points}', fontsize=11)
  figure.savefig(path, dpi=100)
