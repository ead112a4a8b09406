"""`analyse attention`: the mean attention weight of every channel by class.

    ecanet_jax analyse attention RUN... [--classes=NAME,NUMBER] [--blocks=conv_4_6] [--spread]

The picture is Fig. 7 of ECA-Net and Fig. 6 of SENet. The output says for each block which share of
the weights' variance is between the classes. Runs are workdirs; each is evaluated on its own
evaluation split. Several are drawn in rows.
"""

import argparse
import dataclasses

from ecanet_jax.analysis.blocks import choose, paper_name
from ecanet_jax.cli.analyse import arguments
from ecanet_jax.runtime.errors import UserError

KIND = 'attention'
COLUMNS = ('run', 'block', 'class', 'name', 'channel', 'images', 'mean', 'std')
SHARES = (
  'run', 'attention', 'block', 'conv', 'class_share', 'by_chance', 'static_share', 'near_0',
  'near_1', 'near_half',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's arguments to `parser`."""
  arguments.add_runs(parser, arguments.RUN.format(KIND))
  arguments.add_images(parser)
  parser.add_argument(
    '--classes', default='', help='names or numbers, separated by commas (default: four of them)'
  )
  arguments.add_blocks(parser)
  parser.add_argument(
    '--channels', type=int, default=0, help='at most so many evenly spaced ones (default: all)'
  )
  parser.add_argument(
    '--spread', action='store_true', help='with the standard deviation over the images of a class'
  )


def run(args: argparse.Namespace) -> int:
  """Analyses the runs and returns 0.

  Raises:
    UserError: a mistake in the arguments, or a run that cannot be read.
  """
  arguments.check_least(args, channels=0, batch_size=1)
  from ecanet_jax.analysis.attention import from_arrays, gates_of_run, to_arrays
  from ecanet_jax.analysis.classes import choose_classes
  from ecanet_jax.analysis.files import is_arrays, read_arrays, write_arrays, write_table
  from ecanet_jax.analysis.pictures import draw_attention, draw_shares
  from ecanet_jax.analysis.run import open_run

  arguments.start()
  blocks, source = arguments.blocks(args), arguments.source(args)
  found = []
  for name in args.runs:
    if is_arrays(name):
      found += [_with_blocks(each, blocks) for each in from_arrays(read_arrays(name, KIND))]
    else:
      found.append(gates_of_run(open_run(name, source), blocks))
  names = found[0].names
  for each in found:
    if each.names != names:
      raise UserError(f'{each.path} has other classes than {found[0].path}; analyse them apart.')
  classes = choose_classes(args.classes, names)
  out = arguments.folder(args)
  for each in found:
    _print(each)
  write_arrays(out / 'attention.npz', KIND, to_arrays(found))
  write_table(out / 'attention.csv', COLUMNS, _rows(found, classes))
  write_table(out / 'attention_shares.csv', SHARES, _shares(found))
  draw_attention(
    list(zip(arguments.titles(found), (each.blocks for each in found))), names, classes,
    out / 'attention.png', channels=args.channels, spread=args.spread,
  )
  draw_shares(
    [(each.title, dict(each.table())) for each in found], out / 'attention_shares.png'
  )
  arguments.say_written(
    out, 'attention.png', 'attention_shares.png', 'attention.csv', 'attention_shares.csv',
    'attention.npz',
  )
  return 0


def _with_blocks(run, blocks: list[str]):
  """The sums of some blocks."""
  return dataclasses.replace(
    run, blocks={name: run.blocks[name] for name in choose(blocks, run.blocks)}
  )


def _print(run) -> None:
  print(f'{run.path}: {run.title}, {run.images:,} images of {len(run.names)} classes')
  print('block         class share  by chance  static share  near 0  near 1  near 0.5')
  for block, row in run.table():
    print(
      f'{block:<12}  {row["class_share"]:11.3f}  {row["by_chance"]:9.3f}  '
      f'{row["static_share"]:12.3f}  {row["near_low"]:6.3f}  {row["near_high"]:6.3f}  '
      f'{row["near_half"]:8.3f}'
    )


def _shares(found):
  """The printed table of all runs."""
  for run in found:
    for block, row in run.table():
      yield run.path, run.kind, block, paper_name(block), *row.values()


def _rows(found, classes: list[int]):
  """The drawn means."""
  for run in found:
    for block, gates in run.blocks.items():
      mean, deviation = gates.weights.mean(), gates.weights.deviation()
      for label in classes:
        for channel, (value, spread) in enumerate(zip(mean[label], deviation[label], strict=True)):
          count = int(gates.weights.count[label])
          yield run.path, block, label, run.names[label], channel, count, value, spread
