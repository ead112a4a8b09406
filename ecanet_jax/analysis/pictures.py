"""Pictures of attention weights by channel, one panel for each block."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ecanet_jax.analysis.blocks import paper_name
from ecanet_jax.analysis.gates import BlockGates
from ecanet_jax.analysis.legend import legend_below
from ecanet_jax.runtime import paths

COLUMNS = 4  # panels in a row
DENSE = 150  # channels, above which lines are thin
SHARES = {
  'class_share': 'class share: between the classes',
  'static_share': 'static share: without the image',
}


def sampled(channels: int, most: int) -> np.ndarray:
  """Indices of at most `most` evenly spaced channels; 0 = all."""
  if not most or most >= channels:
    return np.arange(channels)
  return np.unique(np.linspace(0, channels - 1, most).round().astype(int))


def draw_attention(
  runs: Sequence[tuple[str, dict[str, BlockGates]]], names: Sequence[str], classes: Sequence[int],
  path: paths.Path, *, channels: int = 0, spread: bool = False,
) -> Any:
  """Draws mean attention weights over channels (ECA-Net, Fig. 7; SENet, Fig. 6).

  A panel has a line for each class and a dashed one for the mean over all classes. With `spread`
  (Hu et al., Fig. 7 of the supplement) a band is one standard deviation over the images of a class.

  Args:
    runs: title and sums of each network. The panels of a block stand below each other, in this
      order; a network without the block leaves its place empty.
    names: of all classes.
    classes: those that are drawn.
    path: of the PNG.
    channels: at most so many evenly spaced channels; 0 = all.
    spread: whether to draw bands.

  Returns:
    The figure.
  """
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  blocks = list(dict.fromkeys(block for _, sums in runs for block in sums))
  columns = min(len(blocks), COLUMNS)
  groups = [blocks[first : first + columns] for first in range(0, len(blocks), columns)]
  rows = len(groups) * len(runs)
  figure = Figure(figsize=(3.4 * columns + 0.4, 2.2 * rows + 0.6), layout='constrained')
  FigureCanvasAgg(figure)
  axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
  handles = {}
  for number, row in enumerate(axes):
    group, (title, sums) = groups[number // len(runs)], runs[number % len(runs)]
    row[0].set_ylabel(title.replace(' on ', '\non ') + '\nattention weight', fontsize=8)
    for axis, block in itertools.zip_longest(row, group):
      if block not in sums:
        _leave_empty(axis)
        continue
      _panel(axis, sums[block], names, classes, channels, spread)
      axis.set_title(f'{block} ({paper_name(block)})', fontsize=9)
      handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
  drawn = np.concatenate([line.get_ydata() for axis in axes.flat for line in axis.lines])
  axes[0, 0].set_ylim(min(np.nanmin(drawn), 0), max(np.nanmax(drawn), 1))
  legend_below(figure, handles.values(), handles.keys(), 6)
  paths.write_figure(path, figure, dpi=100)
  return figure


def _panel(axis, gates: BlockGates, names, classes, channels, spread) -> None:
  mean, deviation = gates.weights.mean(), gates.weights.deviation()
  chosen = sampled(mean.shape[1], channels)
  width = 0.9 if len(chosen) <= DENSE else 0.5
  for color, label in enumerate(classes):
    line = mean[label, chosen]
    axis.plot(chosen, line, lw=width, color=f'C{color % 10}', label=names[label])
    if spread:
      band = deviation[label, chosen]
      axis.fill_between(chosen, line - band, line + band, color=f'C{color % 10}', alpha=0.2, lw=0)
  axis.plot(chosen, gates.weights.mean_of_classes()[chosen], 'k--', lw=width, label='all classes')
  axis.set_xlabel('channel', fontsize=8)


def _leave_empty(axis) -> None:
  """Hides a panel, but not the label of its row."""
  axis.spines[:].set_visible(False)
  axis.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)


def draw_shares(
  tables: Sequence[tuple[str, Mapping[str, Mapping[str, float]]]], path: paths.Path
) -> Any:
  """Draws the shares of the weights' variance by block.

  Networks of one title are seeds: a point is their mean, a bar one standard deviation (n - 1).

  Args:
    tables: title of each network, and its blocks with their shares (`RunGates.table`).
    path: of the PNG.

  Returns:
    The figure.
  """
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  blocks = list(dict.fromkeys(block for _, table in tables for block in table))
  figure = Figure(figsize=(max(7, 0.5 * len(blocks) + 2), 6.5), layout='constrained')
  FigureCanvasAgg(figure)
  panels = figure.subplots(2, 1, sharex=True)
  titles = list(dict.fromkeys(title for title, _ in tables))
  for axes, (key, name) in zip(panels, SHARES.items(), strict=True):
    for number, title in enumerate(titles):
      seeds = [table for each, table in tables if each == title]
      values = np.array(
        [[table.get(block, {}).get(key, np.nan) for block in blocks] for table in seeds]
      )
      spread = values.std(0, ddof=1) if len(seeds) > 1 else None
      axes.errorbar(
        np.arange(len(blocks)) + 0.12 * (number - (len(titles) - 1) / 2), values.mean(0), spread,
        fmt='o-', ms=4, lw=0.9, capsize=2,
        label=f'{title} (n = {len(seeds)})' if len(seeds) > 1 else title,
      )
    axes.set(ylabel=name, ylim=(-0.03, 1.03))
    axes.grid(alpha=0.3)
  panels[1].set_xticks(range(len(blocks)), blocks, rotation=60, ha='right', fontsize=8)
  handles, labels = panels[0].get_legend_handles_labels()
  legend_below(figure, handles, labels, 3, fontsize=9)
  paths.write_figure(path, figure, dpi=100)
  return figure
