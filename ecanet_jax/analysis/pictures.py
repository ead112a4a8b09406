"""Pictures of attention weights by channel, one panel for each block."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ecanet_jax.analysis.blocks import paper_name
from ecanet_jax.analysis.gates import BlockGates
from ecanet_jax.runtime import paths

COLUMNS = 4  # panels in a row, if one network is drawn


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
