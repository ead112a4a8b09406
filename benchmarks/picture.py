"""The measured figures as bars."""

import os
import statistics
import textwrap
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmarks.sides import NAMES
from benchmarks.table import conditions


def draw_bars(report: dict[str, Any], path: str | os.PathLike) -> None:
  """Draws a PNG: a row for each mode, a column for each network or family, a bar for each entry.

  Bars are medians; lines span the lowest and the highest round.

  Args:
    report: what `python -m benchmarks --json` writes.
    path: of the PNG.
  """
  matches = [match for match in report['matches'] if match['entries']]
  modes = list(dict.fromkeys(match['setting']['mode'] for match in matches))
  names = list(dict.fromkeys(_name(match) for match in matches))
  labels = list(dict.fromkeys(label for match in matches for label in match['entries']))
  batches = len({match['setting']['batch_size'] for match in matches})
  figure = Figure(
    figsize=(max(8, len(names) * (1.2 + 0.6 * batches * len(labels))), 1.5 + 3.2 * len(modes)),
    layout='constrained',
  )
  FigureCanvasAgg(figure)
  panels = figure.subplots(len(modes), len(names), squeeze=False)
  for row, mode in zip(panels, modes, strict=True):
    for axes, name in zip(row, names, strict=True):
      _panel(axes, labels, [
        match for match in matches if match['setting']['mode'] == mode and _name(match) == name
      ])
    row[0].set_ylabel(f'{mode}, images/s')
  for axes, name in zip(panels[0], names, strict=True):
    axes.set_title(name, fontsize=10)
  colours = [Patch(color=f'C{i}', label=label) for i, label in enumerate(labels)]
  figure.legend(handles=colours, loc='outside right upper')
  setting = matches[0]['setting']
  figure.suptitle(
    f'{setting["image_size"]} x {setting["image_size"]}, {setting["dtype"]}, median and range of '
    f'{setting["rounds"]} rounds in turn', fontsize=11,
  )
  lines = [part for line in conditions(report) for part in textwrap.wrap(line, 110)]
  figure.supxlabel('\n'.join(lines), fontsize=7)
  figure.savefig(path, dpi=100)


def _panel(axes, labels: list[str], matches: list[dict[str, Any]]) -> None:
  """A group of bars for each match, with a bar for each entry."""
  ticks, names, x = [], [], 0.0
  for match in matches:
    first = x
    for label, figures in match['entries'].items():
      speeds = figures['images_per_second']
      middle = statistics.median(speeds)
      below, above = middle - min(speeds), max(speeds) - middle
      bars = axes.bar(
        x, middle, 0.9, yerr=([below], [above]), capsize=3, color=f'C{labels.index(label)}'
      )
      axes.bar_label(bars, [f'{middle:.1f}'], fontsize=8, padding=2)
      x += 1
    ticks.append((first + x - 1) / 2)
    names.append(f'batch {match["setting"]["batch_size"]}')
    x += 0.6
  axes.set_xticks(ticks, names)
  axes.margins(y=0.12)
  axes.grid(axis='y', alpha=0.3)
  axes.set_axisbelow(True)


def _name(match: dict[str, Any]) -> str:
  """Title of a column: the family, with its side if that is not ours, or the network."""
  figures = next(iter(match['entries'].values()))
  if not match.get('family'):
    return figures['model']
  return match['family'] + ('' if figures['side'] == 'ours' else f' ({NAMES[figures["side"]]})')
