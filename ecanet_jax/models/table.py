"""Published figures beside ours, for `models --table` and docs/networks.md."""

import dataclasses
import functools
from collections.abc import Iterator

from ecanet_jax.models.count import CONVENTIONS, Count, count
from ecanet_jax.models.record import GIBI, GIGA, MEBI, MILLION, Network, Published
from ecanet_jax.models.registry import create_model, list_models, network

UNITS = {1: '', MILLION: ' x 10^6', MEBI: ' x 2^20', GIGA: ' x 10^9', GIBI: ' x 2^30'}


@dataclasses.dataclass(frozen=True)
class Figure:
  """A printed figure and ours.

  Attributes:
    printed: as in the document.
    unit: of the printed figure.
    ours: the exact count.
  """

  printed: str
  unit: int
  ours: float

  @property
  def decimals(self) -> int:
    return len(self.printed.partition('.')[2])

  @property
  def matches(self) -> bool:
    """Whether ours, rounded to the printed digits, is the printed figure."""
    half = 0.5 * 10**-self.decimals
    return abs(self.ours / self.unit - self._value) <= half * (1 + 1e-9)

  @property
  def difference(self) -> str:
    """(ours - printed) / printed, in per cent."""
    return f'{(self.ours / self.unit - self._value) / self._value:+.2%}'

  @property
  def _value(self) -> float:
    return float(self.printed.replace(',', ''))

  def __str__(self) -> str:
    value = self.ours / self.unit
    rounded = f'{value:,.{self.decimals + 2}f}' if self.unit > 1 else f'{value:,.0f}'
    return f'{self.printed} | {rounded}{UNITS[self.unit]} | {self.difference}'


@dataclasses.dataclass(frozen=True)
class Row:
  """One network in one document."""

  record: Network
  published: Published
  parameters: Figure | None
  operations: Figure | None

  @property
  def matches(self) -> bool:
    return all(f.matches for f in (self.parameters, self.operations) if f)


@functools.cache
def count_network(name: str) -> Count:
  """The count of a registered network at its published image size."""
  return count(create_model(name), network(name).image_size)


def rows(pattern: str = '*') -> Iterator[Row]:
  """The published rows of all networks that match; counts each as it goes."""
  for name in list_models(pattern):
    record = network(name)
    for published in record.published:
      yield make_row(record, published)


def make_row(record: Network, published: Published) -> Row:
  """A document's figures for a network, beside ours in the document's convention."""
  counted = count_network(record.name)
  parameters = operations = None
  if published.parameters:
    parameters = Figure(
      published.parameters, published.parameter_unit,
      counted.parameters(convention=published.convention),
    )
  if published.multiply_adds:
    operations = Figure(
      published.multiply_adds, published.multiply_add_unit,
      counted.operations(convention=published.convention),
    )
  return Row(record, published, parameters, operations)


def text_line(row: Row) -> str:
  """One line of the terminal's table."""
  parts = [f'{row.record.name:<28}']
  for figure, width in ((row.parameters, 9), (row.operations, 7)):
    if figure is None:
      parts.append(' ' * (width + 32))
      continue
    value, unit = figure.ours / figure.unit, UNITS[figure.unit]
    digits = figure.decimals + 2 if figure.unit > 1 else 0
    met = 'ok' if figure.matches else '--'
    parts.append(
      f'{figure.printed:>{width}} {value:>12,.{digits}f}{unit:<8} {figure.difference:>8} {met}'
    )
  return ' '.join([*parts, f'{row.published.top1:>6}', row.published.source, _note(row)]).rstrip()


HEADER = (
  f'{"network":<28} {"params":>9} {"ours":>12}{"":<8} {"differ":>8}    '
  f'{"FLOPs":>7} {"ours":>12}{"":<8} {"differ":>8}    {"top-1":>6} where published'
)


def _note(row: Row) -> str:
  return f'({row.published.why})' if row.published.why else ''


def markdown() -> Iterator[str]:
  """The lines of docs/networks.md."""
  yield from (
    '# Networks', '',
    'Written by `python -m ecanet_jax models --table --markdown`; a test compares it with the '
    'code.', '',
    'Every count that a source document prints stands beside ours. Ours is counted layer by layer',
    'at the published image size. Accuracies are those of the documents.', '',
    '## What the documents count', '',
    '| counted as | what it counts |', '|---|---|',
  )
  for name, convention in CONVENTIONS.items():
    yield f'| `{name}` | {convention.text} |'
  by_source = {}
  for row in rows():
    by_source.setdefault(row.published.source, []).append(row)
  for source, group in sorted(by_source.items()):
    yield from (
      '', f'## {source}', '',
      '| network | parameters | ours | difference | FLOPs | ours | difference | counted as | '
      'top-1 | top-5 | why not met |',
      '|---|--:|--:|--:|--:|--:|--:|---|--:|--:|---|',
    )
    for row in group:
      p = row.published
      counted = p.convention if row.operations else ''
      exact = f' | {count_network(row.record.name).parameters():,} | '
      yield (f'| {row.record.name} | {row.parameters or exact} | {row.operations or " |  | "} | '
             f'{counted} | {p.top1} | {p.top5} | {p.why} |')
  yield from (
    '', '## All networks', '',
    'Exact counts at 1000 classes; multiply-adds of convolutions, attention layers and classifier.',
    '', '| network | pixels | parameters | multiply-adds | timm | source |',
    '|---|--:|--:|--:|---|---|',
  )
  for name in list_models():
    record, counted = network(name), count_network(name)
    yield (f'| {name} | {record.image_size} | {counted.parameters():,} | '
           f'{counted.operations():,.0f} | {_twin(record)} | {record.source} |')


def _twin(record: Network) -> str:
  extra = [f'{key}={value!r}' for key, value in record.timm_arguments.items()]
  return ', '.join([record.timm, *extra]) if record.timm else ''
