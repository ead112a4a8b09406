"""Pictures of top-1 with changed attention, and with pruned channels."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ecanet_jax.analysis.effect.pruning import Pruning
from ecanet_jax.analysis.effect.static import StaticAttention
from ecanet_jax.analysis.legend import legend_below
from ecanet_jax.runtime import paths

DPI = 100


def draw_static(
  runs: Sequence[StaticAttention], titles: Sequence[str], path: paths.Path
) -> Any:
  """Draws top-1 with the attention of each block constant and removed; one row for each network.

  Args:
    runs: the networks.
    titles: of the networks.
    path: of the PNG.

  Returns:
    The figure.
  """
  most = max(len(run.blocks) for run in runs)
  figure, rows = _figure((max(0.55 * most + 2, 7), 2.9 * len(runs) + 0.5), len(runs), 1)
  for axes, run, title in zip(rows[:, 0], runs, titles, strict=True):
    places = np.arange(len(run.blocks))
    axes.axhline(100 * run.reference.top1, color='k', ls='--', lw=0.9, label='unchanged')
    for scores, name, marker in (
      (run.constant, 'constant: the mean weights', 'o'), (run.removed, 'removed', 'x'),
    ):
      axes.plot(places, [100 * each.top1 for each in scores], marker, mfc='none', label=name)
    axes.set_xticks(places, run.blocks, rotation=60, ha='right', fontsize=8)
    axes.set(ylabel='top-1, %', ylim=(-3, 103), xlim=(-0.5, len(places) - 0.5))
    axes.set_title(f'{title}, attention changed in', fontsize=10)
    axes.grid(alpha=0.3)
  _legend(figure, rows[0, 0])
  paths.write_figure(path, figure, dpi=DPI)
  return figure


def draw_pruning(runs: Sequence[Pruning], titles: Sequence[str], path: paths.Path) -> Any:
  """Draws top-1 over the share of pruned channels; one panel for each network.

  A line is the mean over a measure's orders; a band is their standard deviation (n - 1).

  Args:
    runs: the networks.
    titles: of the networks.
    path: of the PNG.

  Returns:
    The figure.
  """
  figure, axes = _figure((4.6 * len(runs) + 0.6, 4.4), 1, len(runs))
  for panel, run, title in zip(axes[0], runs, titles, strict=True):
    shares = 100 * np.array((0, *run.shares))
    for measure, orders in run.scores.items():
      values = 100 * np.array(
        [[run.reference.top1, *(score.top1 for score in scores)] for scores in orders]
      )
      mean, several = values.mean(0), len(values) > 1
      label = f'{measure} (n = {len(values)})' if several else measure
      (line,) = panel.plot(shares, mean, marker='.', label=label)
      if several:
        spread = values.std(0, ddof=1)
        panel.fill_between(
          shares, mean - spread, mean + spread, color=line.get_color(), alpha=0.2, lw=0
        )
    panel.set(xlabel="pruned, % of each block's channels", ylabel='top-1, %', ylim=(-3, 103))
    panel.set_title(title, fontsize=10)
    panel.grid(alpha=0.3)
  _legend(figure, axes[0, 0])
  paths.write_figure(path, figure, dpi=DPI)
  return figure


def _figure(size: tuple[float, float], rows: int, columns: int):
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  figure = Figure(figsize=size, layout='constrained')
  FigureCanvasAgg(figure)
  return figure, figure.subplots(rows, columns, squeeze=False)


def _legend(figure, axes) -> None:
  handles, labels = axes.get_legend_handles_labels()
  legend_below(figure, handles, labels, len(labels), fontsize=9)
