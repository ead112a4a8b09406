"""`analyse pruning`: top-1 without the least important channels of each block.

    ecanet_jax analyse pruning RUN... [--shares=0.1,0.5,0.9] [--seeds=5]

Importance is measured by the attention, by attention times activation, by the scale of BatchNorm,
and at random.
"""

import argparse

from ecanet_jax.cli.analyse import arguments
from ecanet_jax.runtime.errors import UserError

KIND = 'pruning'
COLUMNS = ('run', 'measure', 'order', 'share', 'images', 'top1', 'same_answer')
SHARES = '0.02,0.05,0.1,0.15,0.2,0.3,0.4,0.5'


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's arguments to `parser`."""
  arguments.add_runs(parser, arguments.RUN.format(KIND))
  arguments.add_images(parser)
  arguments.add_blocks(parser)
  parser.add_argument(
    '--shares', default=SHARES, help="of each block's channels that are pruned, above 0, below 1"
  )
  parser.add_argument('--seeds', type=int, default=5, help='random orders (default: 5)')


def run(args: argparse.Namespace) -> int:
  """Analyses the runs and returns 0.

  Raises:
    UserError: a mistake in the arguments, or a run that cannot be read.
  """
  arguments.check_least(args, batch_size=1, seeds=1)
  shares = parse_shares(args.shares)
  from ecanet_jax.analysis.effect.arrays import pruning_from_arrays, pruning_to_arrays
  from ecanet_jax.analysis.effect.pictures import draw_pruning
  from ecanet_jax.analysis.effect.pruning import pruning
  from ecanet_jax.analysis.files import write_arrays, write_table
  from ecanet_jax.analysis.run import open_run

  arguments.start()
  source, blocks = arguments.source(args), arguments.blocks(args)
  found = arguments.results(
    args, KIND, pruning_from_arrays,
    lambda path: pruning(open_run(path, source), blocks, shares, args.seeds),
  )
  out = arguments.folder(args)
  for each in found:
    _print(each)
  write_arrays(out / f'{KIND}.npz', KIND, pruning_to_arrays(found))
  write_table(out / f'{KIND}.csv', COLUMNS, (
    (run.path, measure, order, share, score.images, score.top1, score.agreement)
    for run in found for measure, orders in run.scores.items()
    for order, scores in enumerate(orders)
    for share, score in zip(run.shares, scores, strict=True)
  ))
  draw_pruning(found, arguments.titles(found), out / f'{KIND}.png')
  arguments.say_written(out, f'{KIND}.png', f'{KIND}.csv', f'{KIND}.npz')
  return 0


def parse_shares(text: str) -> list[float]:
  """The numbers of --shares, ascending.

  Raises:
    UserError: one is no number, or out of range.
  """
  try:
    shares = sorted({float(word) for word in text.split(',')})
  except ValueError:
    raise UserError(f'--shares={text} must be numbers, such as 0.25,0.5.') from None
  for share in shares:
    if not 0 < share < 1:
      raise UserError(f'--shares={text}: {share:g} must be above 0 and below 1.')
  return shares


def _print(run) -> None:
  reference = run.reference
  print(
    f'{run.path}: {run.title}, {reference.images:,} images, top-1 {100 * reference.top1:.2f} %'
  )
  print('top-1, %, pruned by      ' + ''.join(f'{100 * share:7.0f} %' for share in run.shares))
  for measure, orders in run.scores.items():
    means = [sum(each.top1 for each in column) / len(orders) for column in zip(*orders)]
    print(f'{measure:<25}' + ''.join(f'{100 * mean:9.2f}' for mean in means))
