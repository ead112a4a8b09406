"""The reliability diagram: accuracy by confidence (Guo et al. 2017, 1706.04599, figure 1)."""

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ecanet_jax.runtime import paths

FEW = 20  # images below which the accuracy of a bin says little


def draw_reliability(metrics: dict[str, Any], path: paths.Path, title: str) -> None:
  """Draws a PNG with accuracy and mean confidence of each bin, and the bin's share of the images.

  The bar of a bin with fewer than FEW images is hollow.

  Args:
    metrics: of `ClassificationMetrics`, with `bins` and `ece`.
    path: of the PNG.
    title: of the figure.
  """
  bins = {name: np.asarray(values) for name, values in metrics['bins'].items()}
  size = len(bins['count'])
  middle = (np.arange(size) + 0.5) / size
  some = bins['count'] > 0
  accuracy = bins['correct'][some] / bins['count'][some]
  confidence = bins['confidence'][some] / bins['count'][some]
  figure = Figure(figsize=(5.5, 6.5), layout='constrained')
  FigureCanvasAgg(figure)
  figure.suptitle(title, fontsize=10)
  upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
  many = bins['count'][some] >= FEW
  upper.bar(
    middle[some][many], accuracy[many], 1 / size, edgecolor='white', label='accuracy of the bin'
  )
  if not many.all():
    upper.bar(
      middle[some][~many], accuracy[~many], 1 / size, facecolor='none', edgecolor='tab:blue',
      linestyle=':', label=f'fewer than {FEW} images',
    )
  upper.plot([0, 1], [0, 1], color='grey', linestyle='--', label='calibrated')
  upper.plot(confidence, accuracy, 'o', color='black', markersize=3, label='its mean confidence')
  upper.set_ylabel('accuracy')
  upper.set_ylim(0, 1.03)
  upper.legend(loc='upper left', fontsize=8)
  upper.set_title(f'expected calibration error {100 * metrics["ece"]:.2f} %', fontsize=9)
  lower.bar(middle, 100 * bins['count'] / bins['count'].sum(), 1 / size, edgecolor='white')
  lower.set_xlabel('confidence: largest probability')
  lower.set_ylabel('images, %')
  lower.set_xlim(0, 1)
  paths.write_figure(path, figure, dpi=100)
