"""The picture that `models --png` draws: published top-1 over parameters."""

import os
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ecanet_jax.models.record import Network
from ecanet_jax.models.table import count_network
from ecanet_jax.runtime.errors import UserError

COLORS = {'plain': '#5f6670', 'SE': '#1f77b4', 'ECA': '#d62728', 'others': '#c9b037'}
MARKERS = {'plain': 's', 'SE': 'o', 'ECA': '^', 'others': 'D'}
MILLION = 10**6
TICKS = (2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40, 60, 80, 100, 150)  # millions of parameters

# Networks that a document compares, small to large; the label of the line is at the last of them.
# Label, its offset in points (to the left if negative), networks.
LINES = (
  ('MobileNetV2', (8, -12), ('mobilenetv2_075', 'mobilenetv2_100')),
  ('SE-MobileNetV2', (8, -8), ('se_mobilenetv2',)),
  ('ECA-MobileNetV2', (-8, 2), ('eca_mobilenetv2_k13',)),
  ('compact B0', (8, -4), ('b0_compact',)),
  ('B0 without SE', (-9, -3), ('b0_nose_all',)),
  (
    'B0 with MEC blocks', (-8, 6),
    ('mec_c_e1', 'mec_c_e1_5', 'mec_c_e2', 'mec_c_e2_5', 'mec_c_e3', 'mec_c_e3_5'),
  ),
  ('EfficientNet-B0 to -B7', (-16, 2), tuple(f'efficientnet_b{i}' for i in range(8))),
  ('BN-Inception', (8, -4), ('bn_inception',)),
  ('SE-BN-Inception', (-8, 2), ('se_bn_inception',)),
  ('ResNet-50 to -152', (8, -8), ('resnet50', 'resnet101', 'resnet152')),
  ('SE-ResNet-50 to -152', (9, -4), ('se_resnet50', 'se_resnet101', 'se_resnet152')),
  (
    'ECA-ResNet-18 to -152', (9, -2),
    ('eca_resnet18_k3577', 'eca_resnet34_k3357', 'eca_resnet50_k3557', 'eca_resnet101_k3357',
     'eca_resnet152_k3357'),
  ),
  ('Inception-ResNet-v2', (-8, 2), ('inception_resnet_v2',)),
  ('SE-Inception-ResNet-v2', (8, 2), ('se_inception_resnet_v2',)),
  ('SENet-154', (-9, -3), ('senet154',)),
  ('VGG-16', (-9, -3), ('vgg16_bn',)),
  ('SE-VGG-16', (-9, -3), ('se_vgg16_bn',)),
)


def draw_accuracy(records: Sequence[Network], path: str | os.PathLike) -> int:
  """Draws the networks that have a published top-1; returns their number.

  Each network is a point: exact parameters at 1000 classes, and the first top-1 of its record. The
  colour shows its attention.

  Args:
    records: registered networks.
    path: PNG file to write.

  Raises:
    UserError: no network has a published top-1.
  """
  points = {
    record.name: (count_network(record.name).parameters() / MILLION, top1, attention_group(record))
    for record in records if (top1 := published_top1(record)) is not None
  }
  if not points:
    raise UserError(
      "--png: no network that matches has a published top-1; give another pattern, such as 'eca_*'."
    )
  figure = Figure(figsize=(10, 6), layout='constrained')
  FigureCanvasAgg(figure)
  axes = figure.subplots()
  for group in COLORS:
    chosen = [(x, y) for x, y, its in points.values() if its == group]
    if chosen:
      axes.scatter(
        *zip(*chosen, strict=True), s=36, color=COLORS[group], marker=MARKERS[group], label=group,
        alpha=0.6, linewidths=0, zorder=2,
      )
  for label, offset, names in LINES:
    _draw_line(axes, label, offset, [points[name] for name in names if name in points])
  _set_axes(axes)
  figure.savefig(path, dpi=130)
  return len(points)


def published_top1(record: Network) -> float | None:
  """The first published top-1 in per cent, or None."""
  return next((float(row.top1) for row in record.published if row.top1), None)


def attention_group(record: Network) -> str:
  """The group of a network by its attention, a key of COLORS."""
  attention = record.arguments.get('attention', record.family.attention)
  if attention.kind == 'none':
    return 'plain'
  prefix = attention.kind.split('_')[0]
  return {'se': 'SE', 'eca': 'ECA'}.get(prefix, 'others')


def _draw_line(axes: Axes, label: str, offset: tuple[int, int], points: list) -> None:
  if not points:
    return
  x, y, groups = zip(*points, strict=True)
  color = COLORS[groups[-1]]
  if len(points) > 1:
    axes.plot(x, y, color=color, linewidth=1.8, zorder=2)
  axes.scatter(x, y, s=44, color=color, marker=MARKERS[groups[-1]], linewidths=0, zorder=3)
  axes.annotate(
    label, (x[-1], y[-1]), offset, textcoords='offset points', color=color, fontsize=9.5,
    horizontalalignment='right' if offset[0] < 0 else 'left',
  )


def _set_axes(axes: Axes) -> None:
  axes.set_xscale('log')
  axes.set_xlim(1.8, 190)
  axes.xaxis.set_major_locator(FixedLocator(TICKS))
  axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
  axes.xaxis.set_minor_locator(NullLocator())
  axes.set_xlabel('parameters, millions')
  axes.set_ylabel('ImageNet top-1, %, as published')
  axes.grid(alpha=0.25)
  legend = axes.legend(title='attention', loc='lower right', framealpha=1)
  for handle in legend.legend_handles:
    handle.set_alpha(1)
