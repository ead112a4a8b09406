"""Pictures of attention weights by channel, one panel for each block."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ecanet_jax.analysis.blocks import paper_name
from ecanet_jax.analysis.gates import BlockGates
from ecanet_jax.runtime import paths

COLUMNS = 4  # panels in a row, if one network is drawn
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
    runs: title and sums of each network; several are drawn in rows, in this order.
    names: of all classes.
    classes: those that are drawn.
    path: of the PNG.
    channels: at most so many evenly spaced channels; 0 = all.
    spread: whether to draw bands.

  Returns:
    The figure.
  """
  import matplotlib.pyplot as plt

  columns = max(len(blocks) for _, blocks in runs)
  if len(runs) == 1:
    columns = min(columns, COLUMNS)
  rows = sum(-(-len(blocks) // columns) for _, blocks in runs)
  figure, axes = plt.subplots(
    rows, columns, figsize=(3.4 * columns, 2.2 * rows + 0.6), sharey=True, squeeze=False,
    layout='constrained',
  )
  panels, free = [], iter(axes)
  for title, blocks in runs:
    for number, (block, gates) in enumerate(blocks.items()):
      if number % columns == 0:
        row = next(free)
        row[0].set_ylabel(title.replace(' on ', '\non ') + '\nattention weight', fontsize=8)
        for axis in row:
          axis.set_axis_off()
      axis = row[number % columns]
      axis.set_axis_on()
      _panel(axis, gates, names, classes, channels, spread)
      axis.set_title(f'{block} ({paper_name(block)})', fontsize=9)
      panels.append(axis)
  handles, labels = panels[0].get_legend_handles_labels()
  figure.legend(handles, labels, loc='outside lower center', ncols=min(len(labels), 6))
  with path.open('wb') as file:
    figure.savefig(file, dpi=100)
  plt.close(figure)
  return figure


def _panel(axis, gates: BlockGates, names, classes, channels, spread) -> None:
  mean, deviation = gates.weights.mean(), gates.weights.deviation()
  chosen = sampled(mean.shape[1], channels)
  for color, label in enumerate(classes):
    line = mean[label, chosen]
    axis.plot(chosen, line, lw=0.9, color=f'C{color % 10}', label=names[label])
    if spread:
      band = deviation[label, chosen]
      axis.fill_between(chosen, line - band, line + band, color=f'C{color % 10}', alpha=0.2, lw=0)
  axis.plot(chosen, gates.weights.mean_of_classes()[chosen], 'k--', lw=0.9, label='all classes')
  axis.set(ylim=(0, 1), xlabel='channel')


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
  figure.legend(handles, labels, loc='outside lower center', ncols=min(len(labels), 3), fontsize=9)
  paths.write_figure(path, figure, dpi=100)
  return figure
