"""`analyse attention`: the mean attention weight of every channel by class.

    ecanet_jax analyse attention RUN... [--classes=NAME,NUMBER] [--blocks=conv_4_6] [--spread]

The picture is Fig. 7 of ECA-Net and Fig. 6 of SENet. The output says for each block which share of
the weights' variance is between the classes. Runs are workdirs; each is evaluated on its own
evaluation split. Several are drawn in rows.
"""

import argparse
import dataclasses

from ecanet_jax.analysis.blocks import choose, paper_name
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.log import log, start_log

COLUMNS = ('run', 'block', 'class', 'name', 'channel', 'images', 'mean', 'std')
SHARES = (
  'run', 'attention', 'block', 'conv', 'class_share', 'by_chance', 'static_share', 'near_0',
  'near_1', 'near_half',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's arguments to `parser`."""
  parser.add_argument(
    'runs', metavar='RUN', nargs='+',
    help='workdir of a training, weights of any form with --data, or an earlier attention.npz',
  )
  parser.add_argument('--out', default='analysis', help='folder to write (default: analysis)')
  parser.add_argument(
    '--data', default='', metavar='DIR',
    help="pictures in a subfolder for each class (default: a training's own evaluation split)",
  )
  parser.add_argument('--model', default='', help='the network, for a file that does not name it')
  parser.add_argument('--batch_size', type=int, default=64, help='images computed together')
  parser.add_argument(
    '--classes', default='', help='names or numbers, separated by commas (default: four of them)'
  )
  parser.add_argument(
    '--blocks', default='',
    help='separated by commas, such as blocks_2_5; of a ResNet also conv_4_6 (default: all)',
  )
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
  for flag, least in (('channels', 0), ('batch_size', 1)):
    if getattr(args, flag) < least:
      raise UserError(f'--{flag}={getattr(args, flag)} must be at least {least}.')
  from ecanet_jax.analysis.attention import from_arrays, gates_of_run, to_arrays
  from ecanet_jax.analysis.classes import choose_classes
  from ecanet_jax.analysis.files import is_arrays, read_arrays, write_arrays, write_table
  from ecanet_jax.analysis.pictures import draw_attention
  from ecanet_jax.analysis.run import Source, open_run
  from ecanet_jax.runtime.accelerators import check_devices
  from ecanet_jax.runtime.compile_cache import keep_compiled_programs

  start_log()
  keep_compiled_programs()
  check_devices()

  blocks = [name for name in args.blocks.split(',') if name]
  source = Source(data=args.data, model=args.model, batch_size=args.batch_size)
  found = []
  for name in args.runs:
    if is_arrays(name):
      found += [_with_blocks(each, blocks) for each in from_arrays(read_arrays(name, 'attention'))]
    else:
      found.append(gates_of_run(open_run(name, source), blocks))
  names = found[0].names
  for each in found:
    if each.names != names:
      raise UserError(f'{each.path} has other classes than {found[0].path}; analyse them apart.')
  classes = choose_classes(args.classes, names)
  out = paths.absolute(paths.to_path(args.out))
  paths.make_directory(out)
  for each in found:
    _print(each)
  write_arrays(out / 'attention.npz', 'attention', to_arrays(found))
  write_table(out / 'attention.csv', COLUMNS, _rows(found, classes))
  write_table(out / 'attention_shares.csv', SHARES, _shares(found))
  draw_attention(
    [(each.title, each.blocks) for each in found], names, classes, out / 'attention.png',
    channels=args.channels, spread=args.spread,
  )
  log.info(
    'written: attention.png, attention.csv, attention_shares.csv and attention.npz in %s', out
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
