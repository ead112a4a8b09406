"""python -m ecanet_jax compile: what a step costs on a TPU or GPU, before one is rented.

    python -m ecanet_jax compile --config=configs/eca_b0.py --topology=v5e:2x2 \
      [--config.KEY=VALUE] [--step=eval] [--json=FILE] [--largest_batch]
    python -m ecanet_jax compile --table[='eca_*.v5e.*'] [--again]

The step that train.py or eval.py would run is compiled for chips that this machine does not have.
The compiler runs on a CPU: pip install 'ecanet-jax[aot]' for TPUs, 'ecanet-jax[aot-gpu]' for GPUs.
All figures are the compiler's.

--largest_batch compiles with several batches and reports the largest that fits. --table, in a
checkout, compiles the programs of the table in docs/accelerators.md that have no figures yet, each
in a process of its own, and writes the table.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import threading
import time

from ecanet_jax.cli.arguments import Parser, parse_overrides
from ecanet_jax.cli.config import load_config
from ecanet_jax.runtime.errors import UserError, lookup

STEPS = ('train', 'eval')
SECONDS = 20  # between the lines that say that it still compiles
LIMIT = 2 * 3600  # seconds for one program of the table


def add_arguments(parser: Parser) -> None:
  """Adds the command's arguments to `parser`."""
  parser.epilog = 'Any --config.KEY=VALUE, as for train.py, may be given.'
  parser.add_argument('--config', default='', help='a recipe')
  parser.add_argument('--topology', default='', help='chips, such as v5e:2x2, v4:2x2x1, h100:8')
  parser.add_argument('--step', default='train', help='train or eval (default: train)')
  parser.add_argument('--json', default='', metavar='FILE', help='where to write all figures')
  parser.add_argument(
    '--largest_batch', action='store_true', help='find the largest batch that fits; many times as '
    'long'
  )
  parser.add_argument(
    '--table', nargs='?', const='*', default='', metavar='PATTERN',
    help='compile the entries NETWORK.CHIP.STEP of the table in docs/accelerators.md, and write it'
  )
  parser.add_argument('--again', action='store_true', help='with --table: also those with figures')


parse = parse_overrides


def run(args: argparse.Namespace) -> int:
  """Compiles the step and prints the report.

  Returns:
    0, or 1 if the program has faults.

  Raises:
    UserError: an unknown topology, no compiler, a config that does not fit the chips, or a file
      that cannot be written.
  """
  _check(args)
  if args.table:
    return _table(args.table, args.again)
  import jax

  jax.config.update('jax_platforms', 'cpu')  # a TPU or GPU of this machine stays free
  from ecanet_jax.aot.program import CompileError, DoesNotFit
  from ecanet_jax.aot.report import make_report
  from ecanet_jax.aot.text import lines

  config = load_config(args.config, args.overrides)
  try:
    with _Progress(f'compiling the {args.step} step for {args.topology}'):
      program = _compiled(config, args)
  except CompileError as error:
    unknown = isinstance(error, DoesNotFit) and not args.largest_batch
    advice = ' --largest_batch finds the largest batch that fits.' if unknown else ''
    print(f'fault: {error}{advice}', file=sys.stderr)
    return 1
  report = make_report(program)
  if args.largest_batch:
    print(f'largest batch that fits: --config.batch_size={program.batch_size}')
  print('\n'.join(lines(report)))
  if args.json:
    figures = report.to_json() | {
      'date': time.strftime('%Y-%m-%d'), 'config': args.config, 'overrides': args.overrides,
    }
    pathlib.Path(args.json).write_text(json.dumps(figures, indent=2) + '\n')
  for fault in report.faults:
    print(f'fault: {fault}', file=sys.stderr)
  return int(bool(report.faults))


def _check(args: argparse.Namespace) -> None:
  """Raises UserError for arguments that are missing, unknown or not to be combined."""
  lookup(dict.fromkeys(STEPS), args.step, 'step')
  if args.table:
    own = ('config', 'topology', 'json', 'largest_batch')
    if given := [f'--{name}' for name in own if getattr(args, name)] + args.overrides:
      raise UserError(
        f'--table has its own programs and takes no {given[0]}: leave out one of the two.'
      )
    return
  for name, example in (('config', 'configs/eca_b0.py'), ('topology', 'v5e:2x2')):
    if not getattr(args, name):
      raise UserError(f'--{name} is missing: give one, such as --{name}={example}.')
  if args.again:
    raise UserError('--again belongs to --table: give --table, too, or leave it out.')
  if args.json and not pathlib.Path(args.json).absolute().parent.is_dir():
    raise UserError(f'--json={args.json}: there is no directory {pathlib.Path(args.json).parent}.')


def _compiled(config, args: argparse.Namespace):
  """The program of the config's batch, or of the largest that fits."""
  import jax

  from ecanet_jax.aot.largest_batch import largest_batch
  from ecanet_jax.aot.program import DoesNotFit, compile_step, topology_mesh

  if not args.largest_batch:
    return compile_step(config, args.topology, args.step)

  def compile_at(batch_size):
    jax.clear_caches()
    config.batch_size = batch_size
    return compile_step(config, args.topology, args.step)

  found = largest_batch(
    compile_at, args.topology, topology_mesh(args.topology).devices.size * config.accumulate,
    say=lambda text: print(text, file=sys.stderr, flush=True),
  )
  if found is None:
    raise DoesNotFit('not even one image a chip fits.')
  return found


def _table(pattern: str, again: bool) -> int:
  """Compiles the entries that have no figures, each in a process of its own; writes the table."""
  from ecanet_jax.aot import table

  chosen, failed = table.entries(pattern), []
  table.check_page()
  table.RESULTS.mkdir(parents=True, exist_ok=True)
  for entry in chosen:
    if entry.file.exists() and not again:
      continue
    print(f'{entry.name}:', flush=True)
    command = [sys.executable, '-m', 'ecanet_jax', 'compile', *entry.arguments]
    try:
      subprocess.run(command, check=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
      failed.append(entry.name)
      print(f'fault: {entry.name}: {error}', file=sys.stderr)
    table.write_table()
  print(f'{table.PAGE}: {table.write_table()} rows')
  return int(bool(failed))


class _Progress:
  """Says from time to time that the compiler still works."""

  def __init__(self, text: str):
    self._text, self._began = text, time.monotonic()
    self._ended = threading.Event()
    self._thread = threading.Thread(target=self._run, daemon=True)

  def __enter__(self) -> None:
    self._thread.start()

  def __exit__(self, *_) -> None:
    self._ended.set()
    self._thread.join()

  def _run(self) -> None:
    while not self._ended.wait(SECONDS):
      print(f'{self._text}: {time.monotonic() - self._began:.0f} s', file=sys.stderr, flush=True)
