"""The picture of a sweep's last evaluations: a row for each variant, with its seeds."""

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ecanet_jax.cli.sweep import statistics as seeds
from ecanet_jax.runtime import paths
from ecanet_jax.tasks.task import Metric


def draw_variants(
  values: Mapping[str, Sequence[float]], path: paths.Path, metric: Metric, title: str
) -> None:
  """Draws a PNG of the means with Student's intervals, and of every seed.

  The intervals are of each mean alone. Seeds share the order of the images, so two variants can
  differ reliably although their intervals overlap: the table compares them in pairs.

  Args:
    values: of the headline metric, by variant, one per seed.
    path: of the PNG.
    metric: the headline metric.
    title: what was trained on which data.
  """
  figure = Figure(figsize=(8, 1.8 + 0.4 * len(values)), layout='constrained')
  FigureCanvasAgg(figure)
  axes = figure.subplots()
  for row, group in enumerate(values.values()):
    scaled = [metric.scale * value for value in group]
    mean = statistics.fmean(scaled)
    reach = seeds.mean_interval(scaled)
    axes.plot(scaled, [row] * len(scaled), 'o', color='0.65', markersize=4)
    axes.errorbar(mean, row, xerr=reach, fmt='D', color='C0', markersize=6, capsize=4)
  axes.set_yticks(range(len(values)), [f'{name}  (n = {len(values[name])})' for name in values])
  axes.set_ylim(len(values) - 0.5, -0.5)  # the first variant at the top, as in the table
  axes.set_xlabel(metric.heading)
  axes.grid(axis='x', alpha=0.3)
  figure.suptitle(
    f'{title}\nmean with its {100 * seeds.LEVEL:.0f} % interval (blue), seeds (grey)', fontsize=11
  )
  paths.write_figure(path, figure, dpi=100)
