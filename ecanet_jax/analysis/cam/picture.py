"""The pictures of class activation maps, and of deletion and insertion curves."""

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from ecanet_jax.analysis.cam.explain import Explained
from ecanet_jax.analysis.cam.overlay import coloured
from ecanet_jax.analysis.legend import legend_below
from ecanet_jax.runtime import paths

SIDE = 3.0  # inches of a panel
LINE = 0.17  # inches of a line above a panel
PIXELS = 480  # longest side of a photograph in the picture
DPI = 100
MOST, MOST_CURVES = 50, 100  # photographs and panels in a picture


def shrunk(photograph: Image.Image) -> Image.Image:
  """The whole photograph in the size in which it is drawn."""
  small = photograph.copy()
  small.thumbnail((PIXELS, PIXELS), Image.Resampling.LANCZOS)
  return small


def draw_maps(
  photographs: Sequence[tuple[str, Image.Image]],
  runs: Sequence[tuple[str, Sequence[Explained], Mapping[str, Any]]], path: paths.Path,
  *, shared: bool = False,
) -> Any:
  """Draws a row for each photograph: the photograph, then for each class a map of each network.

  The first `MOST` photographs are drawn.

  Args:
    photographs: title and RGB image, `shrunk`.
    runs: title, maps and preprocessing of each network. Their maps are of the same photographs and
      classes in the same order, and as many for each photograph.
    path: of the PNG.
    shared: one scale for the maps of a class on a photograph, so that networks can be compared;
      else one for each map.

  Returns:
    The figure.
  """
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  classes = len(runs[0][1]) // len(photographs)
  photographs = photographs[:MOST]
  lines = max(_caption(entry).count('\n') + 1 for _, entries, _ in runs for entry in entries)
  heights = [SIDE * image.height / image.width + LINE * (lines + (len(runs) > 1))
             for _, image in photographs]
  columns = 1 + classes * len(runs)
  height = sum(heights) + 0.1 * len(photographs)
  figure = Figure(figsize=(SIDE * columns, height), layout='constrained')
  FigureCanvasAgg(figure)
  axes = figure.subplots(len(photographs), columns, squeeze=False, height_ratios=heights)
  for row, (title, small) in enumerate(photographs):
    axes[row, 0].imshow(small)
    axes[row, 0].set_title(title, fontsize=9)
    free = iter(axes[row, 1:])
    for number in range(row * classes, (row + 1) * classes):
      entries = [entries[number] for _, entries, _ in runs]
      largest = max(float(entry.values.max()) for entry in entries) if shared else 0.0
      for entry, (name, _, data) in zip(entries, runs, strict=True):
        axis = next(free)
        axis.imshow(coloured(small, entry.values, data, largest))
        heading = f'{name}\n' if len(runs) > 1 else ''
        axis.set_title(f'{heading}{_caption(entry)}', fontsize=8)
  for axis in axes.flat:
    axis.set_axis_off()
  paths.write_figure(path, figure, DPI)
  return figure


def _caption(entry: Explained) -> str:
  text = f'{entry.name}: {100 * entry.probability:.1f} %, logit {entry.logit:.2f}'
  if entry.curves is not None:
    text += '\ndeletion {:.2f}, insertion {:.2f}'.format(*entry.curves.areas())
  if entry.random_correlation == entry.random_correlation:
    text += f'\ncorrelation with random weights {entry.random_correlation:.2f}'
  return text


def draw_curves(
  titles: Sequence[str], runs: Sequence[tuple[str, Sequence[Explained]]], path: paths.Path
) -> Any:
  """Draws deletion and insertion curves: a panel for each photograph and class.

  The first `MOST_CURVES` panels are drawn.

  Args:
    titles: of the photographs.
    runs: title and maps, with curves, of each network.
    path: of the PNG.

  Returns:
    The figure.
  """
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  count = min(len(runs[0][1]), MOST_CURVES)
  columns = min(count, 4)
  rows = -(-count // columns)
  figure = Figure(figsize=(3.4 * columns, 2.6 * rows + 0.5), layout='constrained')
  FigureCanvasAgg(figure)
  axes = figure.subplots(rows, columns, sharex=True, squeeze=False)
  for axis in axes.flat[count:]:
    axis.set_axis_off()
  for number, axis in enumerate(axes.flat[:count]):
    for color, (name, entries) in enumerate(runs):
      entry = entries[number]
      for style, what in (('-', 'insertion'), ('--', 'deletion')):
        label = f'{name}, {what}' if len(runs) > 1 else what
        line = getattr(entry.curves, what)
        axis.plot(entry.curves.share, line, style, lw=1.2, color=f'C{color}', label=label)
    entry = runs[0][1][number]
    axis.set_title(f'{titles[entry.image]}: {entry.name}', fontsize=9)
    axis.set_ylim(-0.03, 1.03)  # lines at the ends are seen
  for axis in axes[:, 0]:
    axis.set_ylabel('probability', fontsize=8)
  for axis in axes[-1]:
    axis.set_xlabel('share of the map that has changed', fontsize=8)
  handles, labels = axes.flat[0].get_legend_handles_labels()
  legend_below(figure, handles, labels, 4, fontsize=8)
  paths.write_figure(path, figure, DPI)
  return figure
