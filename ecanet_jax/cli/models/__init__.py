"""`models`: the registered networks and detectors, and their counts beside published figures."""

import argparse
import pathlib

from ecanet_jax.detection.registry import detector_record, list_detectors
from ecanet_jax.models import list_models, network
from ecanet_jax.runtime.errors import UserError, closest, known

PAGE = 'docs/networks.md'


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's arguments to `parser`."""
  parser.add_argument('pattern', nargs='?', default='*', help="shell pattern, such as '*eca*'")
  parser.add_argument(
    '--table', action='store_true',
    help='every published figure: as printed, ours, the difference, where it was published',
  )
  parser.add_argument(
    '--markdown', nargs='?', const=PAGE, metavar='FILE',
    help=f'with --table: write the page of all networks ({PAGE})',
  )
  parser.add_argument(
    '--png', metavar='FILE',
    help='draw published top-1 over parameters; about a minute for all networks',
  )


def run(args: argparse.Namespace) -> int:
  """Prints the list or the table, or writes the page; returns 0.

  Raises:
    UserError: no network matches, or flags that exclude each other.
  """
  names, detectors = list_models(args.pattern), list_detectors(args.pattern)
  if not names and not detectors:
    models = list_models() + list_detectors()
    raise UserError(
      f'no model matches {args.pattern!r}.{closest(args.pattern, models)} '
      f'{known(models, args.pattern)}'
    )
  if args.markdown and not args.table:
    raise UserError('--markdown writes the table: give --table, too.')
  if args.markdown:
    return _write_page(pathlib.Path(args.markdown))
  if args.table:
    return _print_table(args.pattern)
  if args.png and not names:
    raise UserError(
      f'{args.pattern!r} names detectors only; --png draws classifiers, such as eca_resnet50.')
  if args.png:
    return _draw(names, pathlib.Path(args.png))
  width = max(map(len, names + detectors))
  for name in names:
    record = network(name)
    printed = next((p.parameters for p in record.published if p.parameters), '-')
    accuracy = next((p.top1 for p in record.published if p.top1), '-')
    print(f'{name:<{width}}  {printed:>10}  {accuracy:>6}  {record.source}')
  for name in detectors:
    record = detector_record(name)
    parameters = record.published.parameters if record.published else '-'
    print(f'{name:<{width}}  {parameters:>10}  {"-":>6}  {record.source}')
  return 0


def _print_table(pattern: str) -> int:
  from ecanet_jax.detection import table as detectors
  from ecanet_jax.models import table

  found = []
  for each in (table, detectors):
    header = each.HEADER
    for row in each.rows(pattern):
      print(f'{header}\n{each.text_line(row)}' if header else each.text_line(row), flush=True)
      header = ''
      found += [figure for figure in (row.parameters, row.operations) if figure]
  figures, met = len(found), sum(figure.matches for figure in found)
  print(f'{met} of {figures} published figures met to the printed digits')
  return 0


def _draw(names: list[str], path: pathlib.Path) -> int:
  from ecanet_jax.cli.models.accuracy_plot import draw_accuracy

  if path.suffix != '.png':
    raise UserError(f'--png={path} must end in .png.')
  if not path.parent.is_dir():
    raise UserError(f'--png={path}: no directory {str(path.parent)!r}; mkdir -p {path.parent}')
  drawn = draw_accuracy([network(name) for name in names], path)
  print(f'{path}: {drawn} networks with a published top-1')
  return 0


def _write_page(path: pathlib.Path) -> int:
  from ecanet_jax.detection import table as detectors
  from ecanet_jax.models import table

  if not path.parent.is_dir():
    raise UserError(f'no directory {str(path.parent)!r} for {path.name}; run it in the repository.')
  if path.is_dir():
    raise UserError(f'--markdown={path} is a directory, not a file; try --markdown={path}/new.md.')
  text = '\n'.join([*table.markdown(), *detectors.markdown()]) + '\n'
  path.write_text(text)
  print(f'{path}: {len(text.splitlines())} lines')
  return 0
