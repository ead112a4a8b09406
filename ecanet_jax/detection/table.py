"""Published figures of detectors beside our counts, for `models --table` and docs/networks.md."""

import dataclasses
from collections.abc import Iterator

from ecanet_jax.detection.count import HEIGHT, WIDTH, count_registered
from ecanet_jax.detection.record import AP, DetectorRecord
from ecanet_jax.detection.registry import detector_record, list_detectors
from ecanet_jax.models.record import GIGA, MILLION
from ecanet_jax.models.table import Figure


@dataclasses.dataclass(frozen=True)
class Row:
  """One detector in one document."""

  record: DetectorRecord
  parameters: Figure
  operations: Figure


def rows(pattern: str = '*') -> Iterator[Row]:
  """The published detectors that match; counts each as it goes."""
  for name in list_detectors(pattern):
    if (record := detector_record(name)).published:
      counted = count_registered(name)
      yield Row(
        record, Figure(record.published.parameters, MILLION, sum(counted.trained.values())),
        Figure(record.published.flops, GIGA, sum(counted.flops.values())))


HEADER = (
  f'{"detector":<28} {"trained":>9} {"ours x 10^6":>12}    {"GFLOPs":>7} {"ours":>12}    '
  f'{"box AP":>6} {"mask AP":>7} where published'
)


def text_line(row: Row) -> str:
  """One line of the terminal's table."""
  published = row.record.published
  parts = [f'{row.record.name:<28}']
  for figure, width in ((row.parameters, 9), (row.operations, 7)):
    met = 'ok' if figure.matches else '--'
    parts.append(f'{figure.printed:>{width}} {figure.ours / figure.unit:>12,.4f} {met}')
  for figures, width in ((published.boxes, 6), (published.masks, 7)):
    parts.append(f'{figures[0] if figures else "":>{width}}')
  return ' '.join([*parts, published.source]).rstrip()


def markdown() -> Iterator[str]:
  """The lines of docs/networks.md about detectors."""
  yield from (
    '', '## Detectors', '',
    "Counted as mmdetection 1.0rc0 counts, and with it ECA-Net's Table 4: parameters that are "
    'trained,', f'without the stem and stage 1; FLOPs for {HEIGHT} x {WIDTH} pixels, 1000 '
    'proposals and 100 masks.', 'APs on COCO val2017 are those of the documents. Ours are not '
    'measured.', '',
    '| detector | trained | ours | difference | GFLOPs | ours | difference | source |',
    '|---|--:|--:|--:|--:|--:|--:|---|',
  )
  printed = list(rows())
  for row in printed:
    yield (f'| {row.record.name} | {row.parameters} | {row.operations} | '
           f'{row.record.published.source} |')
  for what in ('boxes', 'masks'):
    yield from ('', f'| AP of {what} | {" | ".join(AP)} |', '|---' + '|--:' * len(AP) + '|')
    for row in printed:
      if figures := getattr(row.record.published, what):
        yield f'| {row.record.name} | {" | ".join(figures)} |'
  yield from (
    '', '| detector | all parameters | trained | FLOPs | source |', '|---|--:|--:|--:|---|')
  for name in list_detectors():
    counted, source = count_registered(name), detector_record(name).source
    numbers = (sum(part.values()) for part in (counted.parameters, counted.trained, counted.flops))
    yield f'| {name} | {" | ".join(f"{number:,}" for number in numbers)} | {source} |'
