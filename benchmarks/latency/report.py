"""The table of the latencies as markdown, and as a picture."""

import os
import statistics
import textwrap
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.latency.networks import PRESET, RATIOS, ROWS
from benchmarks.table import spread
from ecanet_jax.models import create_model, network
from ecanet_jax.models.count import count

SLIDES = 'slides, A Compact version of EfficientNet'


def markdown(report: dict[str, Any]) -> str:
  """The figures of all thread counts: milliseconds, and ratios beside the slides'.

  Args:
    report: what `python -m benchmarks latency` writes as JSON.
  """
  lines = [line for text in conditions(report) for line in textwrap.wrap(text, 100)] + ['']
  for threads, by_runtime in report['ms'].items():
    lines += [f'**{_threads(threads)}**, ms per image', '']
    lines += _table(
      ['network', 'parameters', 'multiply-adds', "slides' top-1, %", "slides' phone", *by_runtime],
      [_times(name, report, by_runtime) for name in report['networks']],
    )
    ratios = [
      [label, _fixed(slides(*pair)), *(_ratio(by_runtime[each], *pair) for each in by_runtime)]
      for label, pair in RATIOS.items() if set(pair) <= set(report['networks'])
    ]
    if ratios:
      lines += _table(['ratio', 'slides', *by_runtime], ratios)
  return '\n'.join([*lines, *report['notes']]).rstrip() + '\n'


def conditions(report: dict[str, Any]) -> list[str]:
  """Lines with the setting, hardware, versions and date."""
  about, setting = report['machine'], report['setting']
  return [
    f'One image of {setting["image_size"]} x {setting["image_size"]}, float32 where not said '
    f'otherwise, padding of {PRESET!r} in all rows; median (lowest-highest) of '
    f'{setting["rounds"]} rounds in turn.',
    f'{about["date"]}; {about["cpu"]}, {about["cpus"]} CPUs; {about["system"]}; '
    + ', '.join(f'{name} {version}' for name, version in report['versions'].items()) + '.',
  ]


def slides(one: str, other: str) -> float | None:
  """The slides' ratio of two networks on a phone; None = one of them is not there."""
  times = [ROWS[name].phone for name in (one, other)]
  return times[0] / times[1] if all(times) else None


def draw(report: dict[str, Any], path: str | os.PathLike) -> None:
  """Draws a PNG: a row for each number of threads, a group of bars for each network."""
  panels_of = report['ms']
  figure = Figure(figsize=(13, 1.6 + 3.4 * len(panels_of)), layout='constrained')
  FigureCanvasAgg(figure)
  panels = figure.subplots(len(panels_of), 1, squeeze=False)[:, 0]
  names = report['networks']
  for axes, (threads, by_runtime) in zip(panels, panels_of.items(), strict=True):
    width = 0.85 / max(len(by_runtime), 1)
    for number, (runtime, by_network) in enumerate(by_runtime.items()):
      for place, name in enumerate(names):
        if not (values := by_network.get(name)):
          continue
        middle = statistics.median(values)
        axes.bar(
          place + (number - (len(by_runtime) - 1) / 2) * width, middle, 0.95 * width,
          yerr=([middle - min(values)], [max(values) - middle]), capsize=2, color=f'C{number}',
          label=runtime if axes is panels[0] and name == next(iter(by_network)) else None,
        )
    axes.set_xticks(range(len(names)), map(_broken, names), fontsize=8)
    axes.set_ylabel(f'ms, {_threads(threads)}')
    axes.grid(axis='y', alpha=0.3)
    axes.set_axisbelow(True)
  figure.legend(loc='outside right upper')
  figure.supxlabel('\n'.join(conditions(report)), fontsize=7)
  figure.savefig(path, dpi=100)


def _times(name: str, report: dict[str, Any], by_runtime: dict[str, Any]) -> list[str]:
  counted = count(create_model(name), report['setting']['image_size'])
  top1 = next((each.top1 for each in network(name).published if each.source == SLIDES), '')
  if name == 'tf_efficientnet_lite0':
    top1 = '73.25'  # its row has no record: the network is older than the slides
  row = ROWS.get(name)
  return [
    _label(name), f'{counted.parameters() / 1e6:.2f} M', f'{counted.operations() / 1e6:.0f} M',
    top1 or '-', _fixed(row and row.phone),
    *(spread(values.get(name, []), 1) for values in by_runtime.values()),
  ]


def _ratio(by_network: dict[str, list[float]], one: str, other: str) -> str:
  pairs = zip(by_network.get(one, []), by_network.get(other, []))
  return spread([a / b for a, b in pairs], 2)


def _label(name: str) -> str:
  return ROWS[name].label if name in ROWS else name


def _broken(name: str) -> str:
  """The label of a network in two lines, if it is long."""
  label = _label(name)
  return label.replace(' (', '\n(') if '(' in label else label.replace(': ', ':\n')


def _fixed(value: float | None) -> str:
  return f'{value:.2f}' if value else '-'


def _threads(number: str) -> str:
  return f'{number} thread' + ('' if number == '1' else 's')


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
  return ['| ' + ' | '.join(row) + ' |' for row in (head, ['---'] * len(head), *rows)] + ['']
