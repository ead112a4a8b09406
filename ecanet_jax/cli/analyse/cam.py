"""`analyse cam`: where on photographs a network sees a class.

    ecanet_jax analyse cam RUN... --images PHOTOGRAPH... [--class=top1|NAME,NUMBER] [--curves]
    ecanet_jax analyse cam analysis/cam.npz [--scale=shared]

The maps are class activation maps (Zhou et al., 2016) of the last features, or Grad-CAM (Selvaraju
et al., 2017) of any block. They are drawn on the whole photograph; what the network has not seen is
dark. Several runs are drawn in columns, for the classes of the first one. Runs are workdirs or
weights of any other form. cam.npz draws the pictures again.
"""

import argparse
from typing import Any

from ecanet_jax.cli.training_packages import check_matplotlib
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, lookup
from ecanet_jax.runtime.log import log, start_log

KIND = 'cam'
SCALES = {'own': False, 'shared': True}
COLUMNS = ('image', 'run', 'layer', 'class', 'name', 'row', 'column', 'value')
CURVES = ('image', 'run', 'class', 'name', 'share', 'deletion', 'insertion')


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's arguments to `parser`."""
  parser.add_argument(
    'runs', metavar='RUN', nargs='+',
    help='workdir of a training, converted weights, timm folder, hf-hub:OWNER/NAME, or with '
    '--model a file of weights; or a cam.npz, to draw it again',
  )
  parser.add_argument('--images', metavar='IMAGE', nargs='+', help='files, folders and patterns')
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
  from ecanet_jax.analysis.files import ENDING

  check_matplotlib()
  shared = lookup(SCALES, args.scale, 'scale')
  if len(args.runs) == 1 and not args.images and args.runs[0].endswith(ENDING):
    return _draw_again(args, shared)
  if not args.images:
    raise UserError(f'no photographs: write analyse cam {args.runs[0]} --images FILE_OR_FOLDER.')
  from ecanet_jax.inference.find_images import find_images

  files = find_images(args.images)
  from ecanet_jax.analysis.cam.arrays import to_arrays
  from ecanet_jax.analysis.files import write_arrays, write_table
  from ecanet_jax.runtime.accelerators import check_devices
  from ecanet_jax.runtime.compile_cache import keep_compiled_programs

  start_log()
  keep_compiled_programs()
  check_devices()
  small, runs = _maps(args, files)
  titles = [paths.to_path(file).name for file in files]
  photographs = list(zip(titles, small, strict=True))
  out = _made(args.out)
  found = [
    (path, entry) for path, (_, entries, _) in zip(args.runs, runs, strict=True)
    for entry in entries
  ]
  write_table(out / 'cam.csv', COLUMNS, (
    (files[entry.image], path, args.layer or 'last', entry.label, entry.name, row, column, value)
    for path, entry in found
    for row, line in enumerate(entry.values) for column, value in enumerate(line)
  ))
  written = ['cam.csv', 'cam.npz']
  if args.curves:
    write_table(out / 'cam_curves.csv', CURVES, (
      (files[entry.image], path, entry.label, entry.name, *row)
      for path, entry in found for row in zip(*vars(entry.curves).values(), strict=True)
    ))
    written.append('cam_curves.csv')
  write_arrays(out / 'cam.npz', KIND, to_arrays(photographs, runs))
  written += _draw(photographs, runs, out, shared)
  for title, entries, _ in runs:
    for entry in entries:
      print(_line(titles[entry.image], title if len(runs) > 1 else '', entry))
  log.info('written to %s: %s', out, ', '.join(written))
  return 0


def _maps(args: argparse.Namespace, files: list[str]) -> tuple[list[Any], list[Any]]:
  """The photographs as they are drawn, and title, maps and preprocessing of each run."""
  from ecanet_jax.analysis.cam.explain import class_names, explain
  from ecanet_jax.analysis.cam.picture import shrunk
  from ecanet_jax.analysis.classes import class_number
  from ecanet_jax.inference.classifier import load
  from ecanet_jax.inference.images import read_image

  runs, classes, names = [], args.classes, ()
  for path, title in zip(args.runs, paths.short_names(args.runs), strict=True):
    classifier = load(
      path, model=args.model, dialect=args.dialect, kind=args.kind, checkpoint=args.checkpoint
    )
    exif = classifier.preprocessing.get('exif', 'ignore')
    own = class_names(classifier)
    if runs:
      classes = [[] for _ in files]
      for entry in runs[0][1]:
        label = entry.label if own == names else class_number(entry.name, own)
        classes[entry.image].append(label)
    else:
      small, names = [shrunk(read_image(file, exif)) for file in files], own
    photographs = (read_image(file, exif) for file in files)
    entries = explain(
      classifier, photographs, classes, args.layer, deletion=args.curves,
      randomised=args.randomised,
    )
    runs.append((title, entries, classifier.preprocessing))
  return small, runs


def _draw_again(args: argparse.Namespace, shared: bool) -> int:
  """Draws the pictures of a cam.npz; returns 0."""
  from ecanet_jax.analysis.cam.arrays import from_arrays
  from ecanet_jax.analysis.files import read_arrays

  start_log()
  photographs, runs = from_arrays(read_arrays(args.runs[0], KIND))
  out = _made(args.out)
  log.info('written to %s: %s', out, ', '.join(_draw(photographs, runs, out, shared)))
  return 0


def _draw(photographs, runs, out: paths.Path, shared: bool) -> list[str]:
  """Writes the pictures; returns their names."""
  from ecanet_jax.analysis.cam.picture import MOST, draw_curves, draw_maps

  if len(photographs) > MOST:
    log.info('cam.png: the first %d of %d photographs', MOST, len(photographs))
  draw_maps(photographs, runs, out / 'cam.png', shared=shared)
  if runs[0][1][0].curves is None:
    return ['cam.png']
  titles = [title for title, _ in photographs]
  draw_curves(titles, [(title, entries) for title, entries, _ in runs], out / 'cam_curves.png')
  return ['cam.png', 'cam_curves.png']


def _made(folder: str) -> paths.Path:
  """The folder, which is made if it is missing."""
  out = paths.absolute(paths.to_path(folder))
  paths.make_directory(out)
  return out


def _line(title: str, run: str, entry) -> str:
  """One line of the output."""
  words = [f'{title}{f" {run}" if run else ""}: {entry.name} {100 * entry.probability:.1f} %']
  if entry.curves is not None:
    words.append('area of deletion {:.3f}, of insertion {:.3f}'.format(*entry.curves.areas()))
  if entry.random_correlation == entry.random_correlation:
    words.append(f'correlation with random weights {entry.random_correlation:.2f}')
  return ', '.join(words)
