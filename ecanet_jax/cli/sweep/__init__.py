"""python -m ecanet_jax sweep: configs x variants x seeds, one run directory each, then a table.

    python -m ecanet_jax sweep --config=digits --workdir=runs/attention \
      --vary=model.attention.kind=none,se,eca --seeds=0,1,2 [--config.KEY=VALUE]

Every run is a process that does the same as train.py. After a kill the same command resumes:
finished runs are kept, the others resume from their newest checkpoint. With further seeds it trains
those, too. At the end WORKDIR has table.md, results.json, and the headline metric as three
pictures, such as top1_by_images.png, top1_by_time.png and top1_by_variant.png.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence

from ecanet_jax.cli.arguments import Parser, parse_overrides
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError


def add_arguments(parser: Parser) -> None:
  """Adds the command's arguments to `parser`."""
  parser.epilog = 'Any --config.KEY=VALUE, as for train.py, holds for all runs.'
  parser.add_argument('--config', action='append', required=True, help='a recipe; may be repeated')
  parser.add_argument('--workdir', required=True, help='directory of the runs and the results')
  parser.add_argument(
    '--vary', action='append', default=[], metavar='KEY=VALUE,VALUE',
    help='values of a config key; a tuple in parentheses; repeated, every combination is trained',
  )
  parser.add_argument('--seeds', default='0', help='such as 0,1,2 or 0-4 (default: 0)')
  parser.add_argument('--jobs', type=int, default=1, help='runs at a time (default: 1)')
  parser.add_argument(
    '--smooth', type=int, default=3,
    help='evaluations of which the curves are a centred mean, an odd number (default: 3)',
  )


def parse(parser: Parser, arguments: Sequence[str]) -> argparse.Namespace:
  """Parses the arguments; `overrides` are those that begin with --config. and a key."""
  args = parse_overrides(parser, arguments)
  args.command = shlex.join(['python', '-m', 'ecanet_jax', 'sweep', *arguments])
  return args


def run(args: argparse.Namespace) -> int:
  """Trains the unfinished runs, writes the results and prints the table.

  Returns:
    0 if every run is finished, 1 if some failed.

  Raises:
    UserError: the sweep cannot be run, or the directory has another one.
  """
  from ecanet_jax.cli.sweep.definition import define, enter
  from ecanet_jax.runtime.log import start_log

  for name, value in (('jobs', args.jobs), ('smooth', args.smooth)):
    if value < 1:
      raise UserError(f'--{name}={value} must be at least 1.')
  if not args.smooth % 2:
    raise UserError(f'--smooth={args.smooth} must be odd.')
  sweep = define(args.config, args.vary, args.seeds, args.overrides)
  workdir = paths.to_path(args.workdir)
  from ecanet_jax.cli.sweep import process, results  # need what `define` has checked for

  start_log()
  with enter(sweep, workdir) as lock:
    try:
      failed = process.train(sweep.runs, workdir, args.jobs, lock)
    except KeyboardInterrupt:
      print('error: interrupted; the same command resumes.', file=sys.stderr)
      return 130
    print(results.write(sweep, workdir, failed, args.command, args.smooth), end='')
  return 1 if failed else 0
