"""python -m ecanet_jax compile: what a training step costs on a TPU, before one is rented.

    python -m ecanet_jax compile --config=configs/eca_b0.py --topology=v5e:2x2 \
      [--config.KEY=VALUE] [--step=eval] [--json=FILE]

The step that train.py would run is compiled for chips that this machine does not have. It needs
libtpu, which runs on a CPU: pip install 'ecanet-jax[aot]'. The figures are the compiler's.
"""

import argparse
import json
import pathlib
import sys
import threading
import time

from ecanet_jax.cli.program import load_config, parse_overrides
from ecanet_jax.runtime.errors import UserError, lookup

STEPS = ('train', 'eval')
SECONDS = 20  # between the lines that say that it still compiles


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's arguments to `parser`."""
  parser.epilog = 'Any --config.KEY=VALUE, as for train.py, may be given.'
  parser.add_argument('--config', required=True, help='a recipe')
  parser.add_argument('--topology', required=True, help='chips, such as v5e:2x2, v4:2x2x1, v6e:8x8')
  parser.add_argument('--step', default='train', help='train or eval (default: train)')
  parser.add_argument('--json', default='', metavar='FILE', help='where to write all figures')


parse = parse_overrides


def run(args: argparse.Namespace) -> int:
  """Compiles the step and prints the report.

  Returns:
    0, or 1 if the program has faults.

  Raises:
    UserError: an unknown topology, no libtpu, a config that does not fit the chips, or a file that
      cannot be written.
  """
  lookup(dict.fromkeys(STEPS), args.step, 'step')
  if args.json and not pathlib.Path(args.json).absolute().parent.is_dir():
    raise UserError(f'--json={args.json}: there is no directory {pathlib.Path(args.json).parent}.')
  import jax

  jax.config.update('jax_platforms', 'cpu')  # a TPU or GPU of this machine stays free
  from ecanet_jax.aot.program import CompileError, compile_step
  from ecanet_jax.aot.report import lines, make_report

  config = load_config(args.config, args.overrides)
  try:
    with _Progress(f'compiling the {args.step} step for {args.topology}'):
      program = compile_step(config, args.topology, args.step)
  except CompileError as error:
    print(f'fault: {error}', file=sys.stderr)
    return 1
  report = make_report(program)
  print('\n'.join(lines(report)))
  if args.json:
    pathlib.Path(args.json).write_text(json.dumps(report.to_json(), indent=2) + '\n')
  for fault in report.faults:
    print(f'fault: {fault}', file=sys.stderr)
  return int(bool(report.faults))


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
