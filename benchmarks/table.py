"""The measured figures as text tables."""

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.sides import NAMES


def spread(values: Sequence[float], digits: int) -> str:
  """'median (lowest-highest)', or '-' for no values."""
  if not values:
    return '-'
  low, middle, high = min(values), statistics.median(values), max(values)
  return f'{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})'


def ratio(figures: dict[str, Any], others: dict[str, Any] | None) -> list[float]:
  """Speed ratio of two entries, round by round, so that each ratio is of neighbouring turns."""
  if not figures or not others:
    return []
  return [a / b for a, b in zip(figures['images_per_second'], others['images_per_second'])]


def conditions(report: dict[str, Any]) -> list[str]:
  """Lines with hardware, versions and date."""
  about, threads = report['machine'], report['threads'] or 'all'
  devices = sorted({
    figures['device'] for match in report['matches'] for figures in match['entries'].values()
  })
  bandwidth = report.get('bandwidth')
  copy = f'; copies {bandwidth / 1e9:.1f} GB/s (read + written)' if bandwidth else ''
  waits = sorted({
    figures['wait'] for match in report['matches'] for figures in match['entries'].values()
    if 'wait' in figures
  })
  waiting = f'; OMP_WAIT_POLICY of PyTorch: {", ".join(waits)}' if waits else ''
  return [
    f'{about["date"]}; on {", ".join(devices)}; {about["cpu"]}, {threads} of '
    f'{about["cpus"]} CPUs; {about["system"]}{copy}',
    ', '.join(f'{package} {version}' for package, version in report['versions'].items())
    + waiting,
  ]


def speeds(matches: Sequence[dict[str, Any]], sides: Sequence[str]) -> str:
  """A row for each network, batch size and mode: images/s of the sides, and ours / the others."""
  peers = [side for side in sides if side != 'ours' and 'ours' in sides]
  head = ['network', 'batch', 'mode', *(f'{NAMES[side]} images/s' for side in sides)]
  head += [f'ours / {NAMES[side]}' for side in peers] + ['CPU ms/image', 'CPU stolen']
  rows = [head]
  for match in matches:
    entries = {figures['side']: figures for figures in match['entries'].values()}
    if not entries:
      continue
    setting, first = match['setting'], next(iter(entries.values()))
    row = [first['model'], str(setting['batch_size']), setting['mode']]
    row += [spread(entries.get(side, {}).get('images_per_second', []), 1) for side in sides]
    row += [spread(ratio(entries.get('ours'), entries.get(side)), 2) for side in peers]
    used = [entries.get(side, {}).get('cpu_ms_per_image') for side in sides]
    row.append(' / '.join('-' if ms is None else f'{ms:.1f}' for ms in used))
    row.append('-' if match.get('stolen') is None else f'{match["stolen"]:.0%}')
    rows.append(row)
  return _align(rows)


def attention(matches: Sequence[dict[str, Any]], sizes: dict[str, tuple[int, float]]) -> str:
  """ECA-Net's Table 2: size, and speed in each mode with its ratio to no attention.

  Args:
    matches: of one family, batch size and mode each.
    sizes: parameters and multiply-adds of each network.
  """
  modes = list(dict.fromkeys(match['setting']['mode'] for match in matches))
  rows = [['family', 'attention', 'side', 'batch', 'parameters', 'multiply-adds']]
  for mode in modes:
    rows[0] += [f'{mode} images/s', 'to none']
  cells = {}
  for match in matches:
    for label, figures in match['entries'].items():
      none = match['entries'].get('none')
      key = (match['family'], label, figures['side'], match['setting']['batch_size'])
      cells.setdefault(key, {'model': figures['model']})[match['setting']['mode']] = (
        spread(figures['images_per_second'], 1), spread(ratio(figures, none), 2)
      )
  for (family, label, side, batch), cell in cells.items():
    parameters, products = sizes[cell['model']]
    row = [family, label, NAMES[side], str(batch), f'{parameters / 1e6:.2f} M',
           f'{products / 1e9:.3f} G']
    for mode in modes:
      row += cell.get(mode, ('-', '-'))
    rows.append(row)
  return _align(rows)


def roofline(matches: Sequence[dict[str, Any]], bandwidth: float | None) -> str:
  """Bytes per image by the model, and the share of the memory bandwidth."""
  rows = [['network', 'batch', 'mode', 'MB/image by the model', 'achieved GB/s', 'of copies']]
  for match, figures in _of(matches, 'roofline'):
    line, setting = figures['roofline'], match['setting']
    share = f'{line["bytes_per_second"] / bandwidth:.0%}' if bandwidth else '-'
    rows.append([
      figures['model'], str(setting['batch_size']), setting['mode'],
      f'{line["bytes_per_image"] / 1e6:.1f}', f'{line["bytes_per_second"] / 1e9:.1f}', share,
    ])
  return _align(rows) if len(rows) > 1 else ''


def memory(matches: Sequence[dict[str, Any]]) -> str:
  """Memory of a call per image, and the peak of the process or the device."""
  rows = [['network', 'batch', 'mode', 'side', 'MB/image', 'of what', 'peak MB', 'of']]
  for match, figures in _of(matches, 'memory'):
    used, setting = figures['memory'], match['setting']
    per_image = (used['temporaries'] or 0) / setting['batch_size']
    rows.append([
      figures['model'], str(setting['batch_size']), setting['mode'], NAMES[figures['side']],
      f'{per_image / 1e6:.1f}', used['what'], f'{(used["peak"] or 0) / 1e6:.0f}', used['peak_of'],
    ])
  return _align(rows) if len(rows) > 1 else ''


def profile(matches: Sequence[dict[str, Any]]) -> str:
  """Milliseconds per call of each class of operation, summed over threads, and their share."""
  parts = []
  for match, figures in _of(matches, 'profile'):
    seconds, setting = figures['profile']['classes'], match['setting']
    total = sum(seconds.values())
    title = f'{figures["model"]}, {setting["mode"]}, batch {setting["batch_size"]}'
    if not total:
      parts.append(f'{title}: the profiler gives no times of operations on this device.')
      continue
    rows = [[title, 'ms/call', 'share']]
    for name, value in sorted(seconds.items(), key=lambda item: -item[1]):
      rows.append([name, f'{1e3 * value:.2f}', f'{value / total:.1%}'])
    parts.append(_align(rows))
  return '\n\n'.join(parts)


def _of(matches, key):
  for match in matches:
    for figures in match['entries'].values():
      if key in figures:
        yield match, figures


def _align(rows: list[list[str]]) -> str:
  widths = [max(map(len, column)) for column in zip(*rows)]
  return '\n'.join(
    '  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows
  )
