"""`analyse attention`: the mean attention weight of every channel by class.

    ecanet_jax analyse attention RUN... [--classes=NAME,NUMBER] [--blocks=conv_4_6] [--spread]

The picture is Fig. 7 of ECA-Net and Fig. 6 of SENet. The output says for each block which share of
the weights' variance is between the classes. Runs are workdirs; each is evaluated on its own
evaluation split. Several are drawn in rows.
"""

import argparse
import csv
import io

from ecanet_jax.cli.config import load_stored_config
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, closest
from ecanet_jax.runtime.log import log, start_log

CLASSES = 4  # drawn if none is asked for
COLUMNS = ('run', 'block', 'class', 'name', 'channel', 'images', 'mean', 'std')


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's arguments to `parser`."""
  parser.add_argument('runs', metavar='RUN', nargs='+', help='workdir of a training')
  parser.add_argument('--out', default='analysis', help='folder to write (default: analysis)')
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
  if args.channels < 0:
    raise UserError(f'--channels={args.channels} must be at least 0.')
  configs = [load_stored_config(workdir) for workdir in args.runs]
  from ecanet_jax.analysis.attention import gates_of_run
  from ecanet_jax.analysis.pictures import draw_attention
  from ecanet_jax.runtime.accelerators import check_devices
  from ecanet_jax.runtime.compile_cache import keep_compiled_programs

  start_log()
  keep_compiled_programs()
  check_devices()

  blocks = [name for name in args.blocks.split(',') if name]
  found = [
    gates_of_run(config, workdir, blocks)
    for config, workdir in zip(configs, args.runs, strict=True)
  ]
  names = found[0].names
  for workdir, each in zip(args.runs, found, strict=True):
    if each.names != names:
      raise UserError(f'{workdir} has other classes than {args.runs[0]}; analyse them apart.')
  classes = _classes(args.classes, names)
  out = paths.absolute(paths.to_path(args.out))
  paths.make_directory(out)
  for workdir, each in zip(args.runs, found, strict=True):
    _print(workdir, each)
  paths.write_whole(out / 'attention.csv', _table(args.runs, found, classes).encode())
  draw_attention(
    [(each.title, each.blocks) for each in found], names, classes, out / 'attention.png',
    channels=args.channels, spread=args.spread,
  )
  log.info('written: %s, %s', out / 'attention.csv', out / 'attention.png')
  return 0


def _classes(asked: str, names: tuple[str, ...]) -> list[int]:
  """The numbers of the classes that are asked for; evenly spaced ones if none is."""
  if not asked:
    step = max(len(names) // CLASSES, 1)
    return list(range(0, len(names), step))[:CLASSES]
  found = []
  for word in asked.split(','):
    if word in names:
      found.append(names.index(word))
    elif word.isdigit() and int(word) < len(names):
      found.append(int(word))
    else:
      raise UserError(
        f'no class {word!r}.{closest(word, names)} Classes: 0 to {len(names) - 1}, or their names.'
      )
  return found


def _print(workdir: str, found) -> None:
  print(f'{workdir}: {found.title}, {found.images:,} images of {len(found.names)} classes')
  print('block         class share  by chance  static share  near 0  near 1  near 0.5')
  for name, gates in found.blocks.items():
    ours, chance, ends = gates.shares(), gates.by_chance(), gates.saturation.shares()
    print(
      f'{name:<12}  {ours.omega_squared:11.3f}  {chance.omega_squared:9.3f}  {ours.static:12.3f}  '
      f'{ends["low"]:6.3f}  {ends["high"]:6.3f}  {ends["half"]:8.3f}'
    )


def _table(runs, found, classes: list[int]) -> str:
  """The drawn means as CSV."""
  text = io.StringIO()
  writer = csv.writer(text)
  writer.writerow(COLUMNS)
  for workdir, each in zip(runs, found, strict=True):
    for block, gates in each.blocks.items():
      mean, deviation = gates.weights.mean(), gates.weights.deviation()
      for label in classes:
        for channel, (value, spread) in enumerate(zip(mean[label], deviation[label], strict=True)):
          writer.writerow([
            workdir, block, label, each.names[label], channel, int(gates.weights.count[label]),
            repr(float(value)), repr(float(spread)),
          ])
  return text.getvalue()
