"""`predict`: what a trained network sees in pictures: their classes, or a detector's objects.

The table on standard output has a row for each picture: its path, and names with probabilities.
--json=- and --csv=- replace it by data for a program. A picture that cannot be read is one line on
standard error; the others go on.

Exit status: 0 = all pictures have their classes; 1 = some could not be read; 2 = a mistake in the
command, and nothing was computed.
"""

import argparse
import csv
import io
import json
import sys
from typing import Any

from ecanet_jax.cli.detectors.predict import predict_objects
from ecanet_jax.cli.training_packages import check_matplotlib
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError

SOME_FAILED = 1
WIDEST = 60  # characters of the paths' column


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's arguments to `parser`."""
  parser.add_argument(
    'weights', metavar='WEIGHTS',
    help='workdir of a training, converted weights, timm folder, hf-hub:OWNER/NAME, or with '
    '--model a .safetensors, .npz or .pth file',
  )
  parser.add_argument(
    'images', metavar='IMAGES', nargs='+',
    help="files, folders (all pictures at any depth) and patterns such as 'photos/*.jpg'",
  )
  parser.add_argument('--top', type=int, default=5, help='classes of each picture (default: 5)')
  parser.add_argument('--json', metavar='FILE', help='write the result as JSON; - = to the output')
  parser.add_argument(
    '--csv', metavar='FILE', help='write a row for each picture and class; - = to the output'
  )
  parser.add_argument('--png', metavar='FILE', help='draw the pictures with their classes')
  parser.add_argument(
    '--cam', action='store_true', help='with --png: colour where the network sees the first class'
  )
  parser.add_argument('--batch_size', type=int, default=32, help='pictures computed together')
  parser.add_argument(
    '--score', type=float, default=0.5,
    help='of a detector: objects with a lower score are left out (default: 0.5)'
  )
  parser.add_argument(
    '--kind', default='ema',
    help='ema (default): the averaged weights, where there are any; raw: the weights as trained',
  )
  parser.add_argument(
    '--checkpoint', default='last', help='of a training: last (default), best or a step'
  )
  parser.add_argument('--model', default='', help='the network, for a file that does not name it')
  parser.add_argument(
    '--dialect', default='timm', help='the code whose names a file has, as in convert'
  )
  parser.add_argument(
    '--preprocessing', default='',
    help="of the images, for a file, which stores none (default: the network's)",
  )
  parser.add_argument(
    '--accept_changes', action='store_true',
    help="go on although the training's own folder of images has other class names by now",
  )


def run(args: argparse.Namespace) -> int:
  """Classifies the pictures and prints the table; see the module's text for the exit status.

  Raises:
    UserError: a name that stands for no picture, weights that cannot be read, or an output that
      cannot be written; before anything is computed.
  """
  from ecanet_jax.inference.find_images import find_images

  _check(args)
  images = find_images(args.images)  # a mistyped name is answered before JAX starts
  from ecanet_jax.data.preprocessing import describe
  from ecanet_jax.inference.classifier import load
  from ecanet_jax.inference.detector import is_detector_training
  from ecanet_jax.inference.training_folder import check_training_folder
  from ecanet_jax.runtime.accelerators import check_devices
  from ecanet_jax.runtime.compile_cache import keep_compiled_programs
  from ecanet_jax.runtime.log import log, start_log

  start_log()
  keep_compiled_programs()
  check_devices()
  if not args.model and is_detector_training(args.weights):
    return _exit_status(predict_objects(images, args))
  classifier = load(
    args.weights, model=args.model, dialect=args.dialect, kind=args.kind,
    checkpoint=args.checkpoint, preprocessing=args.preprocessing,
  )
  check_training_folder(
    args.weights, images, classifier.label_names, accept=args.accept_changes
  )
  log.info('images: %s', describe(classifier.preprocessing))
  found = _classify(classifier, images, args)
  if args.json:
    paths.write_or_print(args.json, json.dumps(found, indent=2, ensure_ascii=False) + '\n')
  if args.csv:
    paths.write_or_print(args.csv, _as_csv(found))
  if args.png:
    _write_sheet(args.png, found, classifier, args.cam)
  return _exit_status(found)


def _exit_status(found: list[dict[str, Any]]) -> int:
  """0, or SOME_FAILED with a line that counts the pictures that could not be read."""
  failed = sum('error' in result for result in found)
  if failed:
    print(f'{failed} of {len(found):,} pictures could not be read.', file=sys.stderr)
  return SOME_FAILED if failed else 0


def _check(args: argparse.Namespace) -> None:
  """Finds mistakes before anything is read."""
  for flag in ('top', 'batch_size'):
    if getattr(args, flag) < 1:
      raise UserError(f'--{flag}={getattr(args, flag)} must be at least 1.')
  if not 0 <= args.score <= 1:
    raise UserError(f'--score={args.score} must be from 0 to 1.')
  if args.json == args.csv == paths.STANDARD_OUTPUT:
    raise UserError('--json=- and --csv=- both write to the output; give one of them a file.')
  if args.cam and not args.png:
    raise UserError('--cam colours the pictures of a contact sheet: add --png=sheet.png.')
  if args.cam:
    check_matplotlib()
  if args.png == paths.STANDARD_OUTPUT:
    raise UserError('--png=- is not possible; give a file, such as --png=sheet.png.')
  for flag in ('json', 'csv', 'png'):
    name = getattr(args, flag)
    if not name or name == paths.STANDARD_OUTPUT:
      continue
    path = paths.to_path(name)
    if not paths.is_remote(path) and not path.parent.is_dir():
      raise UserError(f'--{flag}={name}: no directory {str(path.parent)!r} for {path.name}.')
    if not paths.is_remote(path) and path.is_dir():
      raise UserError(f'--{flag}={name} is a directory, not a file.')


def _classify(classifier, images: list[str], args: argparse.Namespace) -> list[dict[str, Any]]:
  """Returns {'path', 'predictions'} or {'path', 'error'} for each picture; prints the table."""
  from ecanet_jax.runtime.progress import bar

  table = paths.STANDARD_OUTPUT not in (args.json, args.csv)
  width, results = min(max(map(len, images)), WIDEST), []
  stream = classifier.stream(images, args.top, args.batch_size)
  progress = bar(zip(images, stream), 'predict', 'picture', len(images))
  for path, found in progress:
    if isinstance(found, UserError):
      results.append({'path': path, 'error': str(found)})
      progress.write(f'error: {found}', file=sys.stderr)
      continue
    results.append({'path': path, 'predictions': [vars(each) for each in found]})
    if table:
      cells = '  '.join(f'{100 * each.probability:5.1f} % {each.name:<18}' for each in found)
      progress.write(f'{path:<{width}}  {cells}'.rstrip(), file=sys.stdout)
  return results


def _as_csv(found: list[dict[str, Any]]) -> str:
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(('path', 'rank', 'label', 'name', 'probability'))
  for result in found:
    for rank, each in enumerate(result.get('predictions', ()), start=1):
      probability = f'{each["probability"]:.6g}'
      writer.writerow((result['path'], rank, each['label'], each['name'], probability))
  return text.getvalue()


def _write_sheet(name: str, found: list[dict[str, Any]], classifier, cam: bool) -> None:
  """Draws the first pictures; those that could not be read are left out."""
  from ecanet_jax.inference import contact_sheet
  from ecanet_jax.inference.classifier import Prediction
  from ecanet_jax.inference.images import read_image
  from ecanet_jax.runtime.log import log

  good = [result for result in found if 'error' not in result]
  if not good:
    return
  if len(good) > contact_sheet.MOST:
    log.info('%s: the first %d of %d pictures', name, contact_sheet.MOST, len(good))
  good = good[: contact_sheet.MOST]
  exif = classifier.preprocessing.get('exif', 'ignore')
  photographs = lambda: (read_image(result['path'], exif) for result in good)
  images = [contact_sheet.thumbnail(photograph) for photograph in photographs()]
  if cam:
    from ecanet_jax.analysis.cam.explain import explain
    from ecanet_jax.analysis.cam.overlay import coloured

    images = [
      coloured(image, entry.values, classifier.preprocessing)
      for image, entry in zip(images, explain(classifier, photographs()), strict=True)
    ]
  sheet = contact_sheet.contact_sheet([
    contact_sheet.Entry(
      paths.to_path(result['path']).name, image,
      [Prediction(**each) for each in result['predictions']],
    )
    for result, image in zip(good, images, strict=True)
  ])
  content = io.BytesIO()
  sheet.save(content, 'PNG')
  paths.write_whole(paths.to_path(name), content.getvalue())
