"""`analyse cam`: where on photographs a network sees a class.

    ecanet_jax analyse cam RUN... --images PHOTOGRAPH... [--class=top1|NAME,NUMBER] [--curves]

The maps are class activation maps (Zhou et al., 2016) of the last features, or Grad-CAM (Selvaraju
et al., 2017) of any block. They are drawn on the whole photograph; what the network has not seen is
dark. Several runs are drawn in columns. Runs are workdirs or weights of any other form.
"""

import argparse

from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, lookup
from ecanet_jax.runtime.log import log, start_log

SCALES = {'own': False, 'shared': True}
COLUMNS = ('image', 'run', 'layer', 'class', 'name', 'row', 'column', 'value')
CURVES = ('image', 'run', 'class', 'name', 'share', 'deletion', 'insertion')


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's arguments to `parser`."""
  parser.add_argument(
    'runs', metavar='RUN', nargs='+',
    help='workdir of a training, converted weights, timm folder, hf-hub:OWNER/NAME, or with '
    '--model a file of weights',
  )
  parser.add_argument(
    '--images', metavar='IMAGE', nargs='+', required=True, help='files, folders and patterns'
  )
  parser.add_argument('--out', default='analysis', help='folder to write (default: analysis)')
  parser.add_argument(
    '--class', dest='classes', default='top1',
    help='names or numbers, separated by commas; top3: the three most probable ones of each '
    'photograph (default: top1)',
  )
  parser.add_argument(
    '--layer', default='',
    help='head (the features before pooling) or a block, such as blocks_2_5; of a ResNet also '
    'conv_4_6 (default: the last features)',
  )
  parser.add_argument(
    '--curves', action='store_true', help='also deletion and insertion curves (RISE, 2018)'
  )
  parser.add_argument(
    '--randomised', action='store_true',
    help='also the rank correlation with the map of random weights, which should be near 0',
  )
  parser.add_argument(
    '--scale', default='own',
    help="colours: own (each map's largest value) or shared (the largest of a row)",
  )
  parser.add_argument('--model', default='', help='the network, for a file that does not name it')
  parser.add_argument('--dialect', default='timm', help='the code whose names a file has')
  parser.add_argument('--kind', default='ema', help='ema (default) or raw weights of a training')
  parser.add_argument('--checkpoint', default='last', help='of a training: last, best or a step')


def run(args: argparse.Namespace) -> int:
  """Draws the maps and returns 0.

  Raises:
    UserError: a mistake in the arguments, or a run or photograph that cannot be read.
  """
  from ecanet_jax.inference.find_images import find_images

  shared = lookup(SCALES, args.scale, 'scale')
  files = find_images(args.images)
  from ecanet_jax.analysis.cam.explain import explain
  from ecanet_jax.analysis.cam.picture import draw_curves, draw_maps
  from ecanet_jax.analysis.files import write_arrays, write_table
  from ecanet_jax.inference.classifier import load
  from ecanet_jax.inference.images import read_image
  from ecanet_jax.runtime.accelerators import check_devices
  from ecanet_jax.runtime.compile_cache import keep_compiled_programs

  start_log()
  keep_compiled_programs()
  check_devices()
  found = []
  for path in args.runs:
    classifier = load(
      path, model=args.model, dialect=args.dialect, kind=args.kind, checkpoint=args.checkpoint
    )
    exif = classifier.preprocessing.get('exif', 'ignore')
    photographs = [read_image(file, exif) for file in files]
    entries = explain(
      classifier, photographs, args.classes, args.layer,
      deletion=args.curves, randomised=args.randomised,
    )
    found.append((_title(path), entries, classifier.preprocessing))
    if [(e.image, e.label) for e in entries] != [(e.image, e.label) for e in found[0][1]]:
      raise UserError(
        f'{path} sees other classes than {args.runs[0]}; say which ones to draw: --class=NAME.'
      )
  out = paths.absolute(paths.to_path(args.out))
  paths.make_directory(out)
  titles = [paths.to_path(file).name for file in files]
  layer = args.layer or 'last'
  write_table(out / 'cam.csv', COLUMNS, (
    (titles[entry.image], run, layer, entry.label, entry.name, row, column, value)
    for run, entries, _ in found for entry in entries
    for row, line in enumerate(entry.values) for column, value in enumerate(line)
  ))
  write_arrays(out / 'cam.npz', 'cam', {
    f'{number}/{position}/{key}': getattr(entry, key)
    for number, (_, entries, _) in enumerate(found) for position, entry in enumerate(entries)
    for key in ('image', 'label', 'name', 'logit', 'probability', 'values')
  })
  draw_maps(list(zip(titles, photographs, strict=True)), found, out / 'cam.png', shared=shared)
  written = ['cam.png', 'cam.csv', 'cam.npz']
  if args.curves:
    runs = [(run, entries) for run, entries, _ in found]
    draw_curves(titles, runs, out / 'cam_curves.png')
    write_table(out / 'cam_curves.csv', CURVES, (
      (titles[entry.image], run, entry.label, entry.name, *row)
      for run, entries in runs for entry in entries
      for row in zip(*vars(entry.curves).values(), strict=True)
    ))
    written += ['cam_curves.png', 'cam_curves.csv']
  for run, entries, _ in found:
    for entry in entries:
      print(_line(titles[entry.image], run if len(found) > 1 else '', entry))
  log.info('written to %s: %s', out, ', '.join(written))
  return 0


def _title(path: str) -> str:
  return paths.to_path(path).name


def _line(title: str, run: str, entry) -> str:
  """One line of the output."""
  words = [f'{title}{f" {run}" if run else ""}: {entry.name} {100 * entry.probability:.1f} %']
  if entry.curves is not None:
    words.append('area of deletion {:.3f}, of insertion {:.3f}'.format(*entry.curves.areas()))
  if entry.random_correlation == entry.random_correlation:
    words.append(f'correlation with random weights {entry.random_correlation:.2f}')
  return ', '.join(words)
