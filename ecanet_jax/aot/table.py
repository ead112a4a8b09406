"""The table of docs/accelerators.md: compiled programs of several networks for several chips."""

import dataclasses
import fnmatch
import itertools
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from ecanet_jax.runtime.errors import UserError

PAGE = pathlib.Path('docs/accelerators.md')
RESULTS = pathlib.Path('benchmarks/results/compiled')
BEGIN, END = '<!-- compile --table: begin -->', '<!-- compile --table: end -->'
BATCH = 1024  # over the four chips of each topology
STEPS = {'train': 'training', 'eval': 'evaluation'}
TOPOLOGIES = {
  'v4': 'v4:2x2x1', 'v5e': 'v5e:2x2', 'v5p': 'v5p:2x2x1', 'v6e': 'v6e:2x2', 'h100': 'h100:4',
}
# A network's place in the table: its text, recipe, and overrides.
NETWORKS = {
  'b0': ('EfficientNet-B0 without attention', 'eca_b0', ('--config.model.attention.kind=none',)),
  'se_b0': ('EfficientNet-B0 with SE', 'efficientnet_b0', ()),
  'eca_b0': ('EfficientNet-B0 with ECA', 'eca_b0', ()),
  'mobilenetv2': ('MobileNetV2', 'eca_mobilenetv2', ('--config.model.name=mobilenetv2_100',)),
  'eca_mobilenetv2': ('MobileNetV2 with ECA', 'eca_mobilenetv2', ()),
  'resnet50': ('ResNet-50', 'eca_resnet', ('--config.model.name=resnet50',)),
  'se_resnet50': ('SE-ResNet-50', 'eca_resnet', ('--config.model.name=se_resnet50',)),
  'eca_resnet50': ('ECA-ResNet-50 (k 3, 5, 5, 7)', 'eca_resnet', ()),
}
HEAD = (
  '| network | chip | step | HBM peak, GB | GB accessed | TFLOP | million cycles '
  '| images/s a chip, estimated | images/s a chip by the roofline |\n'
  '|---|---|---|---|---|---|---|---|---|\n'
)


@dataclasses.dataclass(frozen=True)
class Entry:
  """One program of the table."""

  network: str
  chip: str
  step: str

  @property
  def name(self) -> str:
    """Such as 'eca_b0.v5e.train'."""
    return f'{self.network}.{self.chip}.{self.step}'

  @property
  def file(self) -> pathlib.Path:
    """Where its figures are."""
    return RESULTS / f'{self.name}.json'

  @property
  def arguments(self) -> list[str]:
    """Of `python -m ecanet_jax compile`."""
    _, recipe, overrides = NETWORKS[self.network]
    return [
      f'--config=configs/{recipe}.py', f'--topology={TOPOLOGIES[self.chip]}', f'--step={self.step}',
      f'--config.batch_size={BATCH}', '--config.compute_dtype=bfloat16', *overrides,
      f'--json={self.file}',
    ]


def entries(pattern: str) -> list[Entry]:
  """The entries whose names match a pattern such as 'eca_*.v5e.*'.

  Raises:
    UserError: none does.
  """
  every = [Entry(*each) for each in itertools.product(NETWORKS, TOPOLOGIES, STEPS)]
  found = [entry for entry in every if fnmatch.fnmatchcase(entry.name, pattern)]
  if not found:
    raise UserError(
      f'--table={pattern} is no entry of the table: names are NETWORK.CHIP.STEP, such as '
      f'{every[0].name}; networks {", ".join(NETWORKS)}; chips {", ".join(TOPOLOGIES)}; steps '
      f'{", ".join(STEPS)}.'
    )
  return found


def write_table() -> int:
  """Writes the rows of all figures that there are into the page; returns their number.

  Raises:
    UserError: the page is not below the current directory, or does not have both markers.
  """
  before, after = _around()
  rows = [
    (entry, json.loads(entry.file.read_text())) for entry in entries('*') if entry.file.exists()
  ]
  if rows:
    PAGE.write_text(f'{before}{BEGIN}\n{table(rows)}{END}{after}')
  return len(rows)


def check_page() -> None:
  """Raises UserError unless `write_table` can write."""
  _around()


def table(rows: Sequence[tuple[Entry, dict[str, Any]]]) -> str:
  """The table as Markdown, with the versions and dates of its figures below it.

  Args:
    rows: entries, each with the figures that `compile` wrote; at least one.
  """
  versions = {f'{name} {number}' for _, each in rows for name, number in each['versions'].items()}
  dates = sorted({each['date'] for _, each in rows})
  span = dates[0] if len(dates) == 1 else f'{dates[0]} to {dates[-1]}'
  cells = ''.join(f'| {" | ".join(_cells(entry, figures))} |\n' for entry, figures in rows)
  return f'{HEAD}{cells}\n{", ".join(sorted(versions))}; {span}.\n'


def _cells(entry: Entry, figures: dict[str, Any]) -> list[str]:
  cycles = sum(figures['cycles'].values())
  estimate = figures['estimated_images_per_second_per_chip']
  return [
    NETWORKS[entry.network][0], entry.chip, STEPS[entry.step],
    f'{figures["memory"]["peak"] / 1e9:.2f}', f'{figures["bytes_accessed"] / 1e9:.2f}',
    f'{figures["flops"] / 1e12:.3f}', f'{cycles / 1e6:.1f}' if cycles else 'none',
    f'{estimate:,.0f}' if estimate else 'none',
    f'{figures["roofline_images_per_second_per_chip"]:,.0f}',
  ]


def _around() -> tuple[str, str]:
  """The page before and after the table."""
  if not PAGE.is_file():
    raise UserError(f'--table writes {PAGE}, which is not here: run it in a checkout.')
  before, begin, rest = PAGE.read_text().partition(BEGIN)
  _, end, after = rest.partition(END)
  if not (begin and end):
    raise UserError(f'{PAGE} has no place for the table: put the lines {BEGIN} and {END} into it.')
  return before, after
