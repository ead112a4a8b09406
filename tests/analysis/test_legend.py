"""Legends below the panels of a figure."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ecanet_jax.analysis.legend import legend_below


@pytest.mark.parametrize('length, columns', [(5, 3), (45, 2), (70, 1), (400, 1)])
def test_as_many_columns_as_there_is_room_for(length, columns):
  figure = Figure(figsize=(11, 5), layout='constrained')
  FigureCanvasAgg(figure)
  axes = figure.subplots()
  labels = [letter * length for letter in 'abcd']
  lines = [axes.plot([0, 1], label=label)[0] for label in labels]
  legend_below(figure, lines, labels, 3)
  figure.canvas.draw()
  (legend,) = figure.legends
  texts = [text.get_window_extent() for text in legend.get_texts()]
  assert [text.get_text() for text in legend.get_texts()] == labels
  assert len({round(box.x0) for box in texts}) == columns
  if length < 400:
    assert min(box.x0 for box in texts) >= 0
    assert max(box.x1 for box in texts) <= figure.bbox.width
