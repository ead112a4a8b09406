"""The legend of a whole figure."""

from collections.abc import Collection, Iterable
from typing import Any


def legend_below(
  figure: Any, handles: Iterable[Any], labels: Collection[str], most: int, **options: Any
) -> None:
  """Puts a legend below the panels, with as many columns as the figure is wide enough for.

  Args:
    figure: matplotlib's, in the constrained layout.
    handles: what is drawn for each label.
    labels: the texts.
    most: number of columns at most.
    **options: of `Figure.legend`.
  """
  handles, labels = list(handles), list(labels)
  for columns in range(max(min(len(labels), most), 1), 0, -1):
    legend = figure.legend(
      handles, labels, loc='outside lower center', ncols=columns, **options
    )
    width = legend.get_window_extent(figure.canvas.get_renderer()).width
    if columns > 1 and width > figure.bbox.width:
      legend.remove()
    else:
      return
