"""A metric of several trainings, over images seen or over time."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from ecanet_jax.analysis.files import Arrays
from ecanet_jax.analysis.legend import legend_below
from ecanet_jax.analysis.run import network_title
from ecanet_jax.config.stored import read_config
from ecanet_jax.evaluation.summary import data_name
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.tasks.choice import shown_metrics
from ecanet_jax.tasks.task import Metric
from ecanet_jax.training.logging.writers import read_metrics

_UNITS = ((3600, 'hours'), (60, 'minutes'), (1, 'seconds'))
_ENOUGH = 3  # the smallest number for which a larger unit of time is used


EVALUATION, LOSS = 'eval/', 'train/loss'


@dataclasses.dataclass(frozen=True)
class Curve:
  """A figure of one training, in order.

  Attributes:
    images: seen until then.
    seconds: of training until then.
    values: of the figure.
  """

  images: Sequence[int]
  seconds: Sequence[float]
  values: Sequence[float]


def read_curve(workdir: str | os.PathLike, key: str, batch_size: int) -> Curve:
  """A figure from the metrics.jsonl of a training.

  The time is that of training steps only: without start, compilation, evaluation, saving, and steps
  that a kill undid.

  Args:
    workdir: of the training.
    key: of the figure, such as 'eval/top1'.
    batch_size: of the training.
  """
  images, seconds, values, passed = [], [], [], 0.0
  for line in read_metrics(workdir):
    passed += line.get('train/seconds', 0.0)
    if key in line:
      images.append(line['step'] * batch_size)
      seconds.append(passed)
      values.append(line[key])
  return Curve(images, seconds, values)


@dataclasses.dataclass(frozen=True)
class RunCurves:
  """The curves of one training.

  Attributes:
    path: of the training.
    variant: what its seeds share: the folder's name, or of a sweep's seed_N that of its parent.
    title: network and data set.
    curves: the task's headline ('eval/top1') and the loss ('train/loss') -> the curve.
  """

  path: str
  variant: str
  title: str
  curves: dict[str, Curve]


def curves_of_run(path: str | os.PathLike) -> RunCurves:
  """Reads the curves of a training.

  Raises:
    UserError: it is no workdir of a training, or has no evaluation yet.
  """
  config, folder = read_config(path), paths.absolute(paths.to_path(path))
  keys = {key for line in read_metrics(path) for key in line}
  evaluated = [key.removeprefix(EVALUATION) for key in keys if key.startswith(EVALUATION)]
  if not evaluated or LOSS not in keys:
    raise UserError(f'{path} has no evaluation in metrics.jsonl yet; train longer.')
  headline = shown_metrics(dict.fromkeys(evaluated))[0].name
  curves = {
    key: read_curve(path, key, config.batch_size) for key in (f'{EVALUATION}{headline}', LOSS)
  }
  variant = folder.parent.name if folder.name.startswith('seed_') else folder.name
  title = f'{network_title(config.model)} on {data_name(config)}'
  return RunCurves(str(path), variant, title, curves)


def metric_of(key: str) -> Metric:
  """The metric of a key of `RunCurves.curves`."""
  if key == LOSS:
    return Metric('loss', 'training loss', higher_is_better=False)
  return shown_metrics({key.removeprefix(EVALUATION): None})[0]


def by_variant(runs: Sequence[RunCurves], key: str) -> dict[str, list[Curve]]:
  """The curves of each variant; a run with other evaluations than its variant is one of its own."""
  groups: dict[str, list[Curve]] = {}
  for run in runs:
    curve = run.curves[key]
    group = groups.setdefault(run.variant, [])
    if group and list(group[0].images) != list(curve.images):
      group = groups.setdefault(run.path, [])
    group.append(curve)
  return groups


def to_arrays(runs: Sequence[RunCurves]) -> dict[str, np.ndarray]:
  """Arrays with names such as '0/train/loss/values', 0 being the run."""
  arrays = {}
  for number, run in enumerate(runs):
    about = {name: getattr(run, name) for name in ('path', 'variant', 'title')}
    about['curves'] = list(run.curves)
    arrays[f'{number}/about'] = np.array(json.dumps(about))
    for key, curve in run.curves.items():
      arrays |= {f'{number}/{key}/{part}': np.array(each) for part, each in vars(curve).items()}
  return arrays


def from_arrays(arrays: Arrays) -> list[RunCurves]:
  """What `to_arrays` was given."""
  runs = []
  while (name := f'{len(runs)}/about') in arrays:
    parts = [field.name for field in dataclasses.fields(Curve)]
    about = json.loads(str(arrays[name]))
    curves = {
      key: Curve(**{part: arrays[f'{len(runs)}/{key}/{part}'] for part in parts})
      for key in about.pop('curves')
    }
    runs.append(RunCurves(**about, curves=curves))
  return runs


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
  legend_below(figure, lines, [line.get_label() for line in lines], 3, title='last value')
  points = f'; each point the mean of up to {smooth}' if smooth > 1 else ''
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
