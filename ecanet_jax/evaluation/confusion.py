"""Confusion: a matrix for few classes, the commonest pairs for many."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ecanet_jax.runtime import paths

MATRIX = 40  # most classes for which a matrix is readable
PAIRS = 30  # pairs in the picture of many classes


def draw_confusion(
  metrics: dict[str, Any], names: Sequence[str], path: paths.Path, title: str
) -> None:
  """Draws a PNG of the confused classes.

  Args:
    metrics: of `ClassificationMetrics`, with `classes` and `confused`.
    names: of all classes, by number.
    path: of the PNG.
    title: of the figure.
  """
  draw = _matrix if len(metrics['classes']) <= MATRIX else _pairs
  figure = draw(metrics, [_short(name) for name in names])
  FigureCanvasAgg(figure)
  figure.suptitle(title, fontsize=10)
  paths.write_figure(path, figure, dpi=100)


def _matrix(metrics: dict[str, Any], names: Sequence[str]) -> Figure:
  """Rows are labels, columns are answers; the colour is the share of the row."""
  place = {entry['class']: i for i, entry in enumerate(metrics['classes'])}
  size = len(place)
  counts = np.diag([entry['correct'] for entry in metrics['classes']])
  for label, answer, images in metrics['confused']:
    counts[place[label], place[answer]] = images
  share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
  figure = Figure(figsize=(3 + 0.42 * size, 2.4 + 0.42 * size), layout='constrained')
  axes = figure.subplots()
  image = axes.imshow(share, cmap='Blues', vmin=0, vmax=1)
  for row, column in np.argwhere(counts):
    colour = 'white' if share[row, column] > 0.5 else 'black'
    axes.text(column, row, counts[row, column], ha='center', va='center', fontsize=7, color=colour)
  ticks = [names[number] for number in place]
  axes.set_xticks(range(size), ticks, rotation=90, fontsize=8)
  axes.set_yticks(range(size), ticks, fontsize=8)
  axes.set_xlabel('answer')
  axes.set_ylabel('label')
  figure.colorbar(image, ax=axes, label="share of the label's images", shrink=0.8)
  return figure


def _pairs(metrics: dict[str, Any], names: Sequence[str]) -> Figure:
  """The most confused pairs, and a histogram of the classes' accuracies."""
  pairs = metrics['confused'][:PAIRS]
  accuracies = [
    100 * entry['correct'] / entry['seen'] for entry in metrics['classes'] if entry['seen']
  ]
  figure = Figure(figsize=(10, 9), layout='constrained')
  left, right = figure.subplots(1, 2, width_ratios=(2, 1))
  left.barh(range(len(pairs)), [images for *_, images in pairs])
  texts = [f'{names[label]} → {names[answer]}' for label, answer, _ in pairs]
  left.set_yticks(range(len(pairs)), texts, fontsize=8)
  left.invert_yaxis()
  left.set_xlabel('images')
  left.set_title('label → answer, most confused', fontsize=9)
  right.hist(accuracies, bins=np.linspace(0, 100, 21))
  right.set_xlabel('accuracy of a class, %')
  right.set_ylabel('classes')
  right.set_title(f'mean {np.mean(accuracies):.2f} %', fontsize=9)
  return figure


def _short(name: str) -> str:
  return name if len(name) <= 24 else name[:23] + '…'
