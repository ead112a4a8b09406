"""`export`: a trained network as files for other runtimes, each compared with JAX in its own.

    ecanet_jax export RUN OUT --format=stablehlo,onnx
    ecanet_jax export --check OUT

The second form loads every file of an export again. Exit status: 0 = all files are written, or
right; 2 = a mistake, a missing runtime or a file that computes something else: nothing is written.
"""

import argparse

from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, lookup

MOST = 500  # photographs that each file is compared on, and that calibrate
LOSS = 0.01  # of the top-1 accuracy, that static attention may cost


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's arguments to `parser`."""
  parser.add_argument(
    'run', metavar='RUN', nargs='?',
    help='workdir of a training, converted weights, timm folder, hf-hub:OWNER/NAME, or with '
    '--model a .safetensors, .npz or .pth file',
  )
  parser.add_argument('out', metavar='OUT', nargs='?', help='directory to write')
  parser.add_argument(
    '--format', default='stablehlo',
    help='one or more of stablehlo (default), saved_model, onnx, tflite, tflite_f16, tflite_w8, '
    'tflite_int8, with commas',
  )
  parser.add_argument(
    '--batch', default='',
    help='images per call: dynamic (default), or a number; of a detector a number (default: 1)',
  )
  parser.add_argument(
    '--image_size', default='',
    help='in pixels (default: that of the evaluation); of a detector one of detection.buckets as '
    'HEIGHTxWIDTH (default: the first)',
  )
  parser.add_argument(
    '--platforms', default='cpu,cuda,tpu', help='where a StableHLO file runs (default: all three)'
  )
  parser.add_argument(
    '--preprocess', default='beside',
    help='beside (default): the caller normalises the images; inside: the files take pixels from '
    '0 to 255',
  )
  parser.add_argument('--labels', action='store_true', help='also write the classes to labels.txt')
  parser.add_argument(
    '--check', metavar='DIR', default='',
    help='photographs to compare on, with a folder for each class where accuracy counts; without '
    'RUN: the OUT of an export, whose files are loaded again',
  )
  parser.add_argument(
    '--calibrate', metavar='DIR', default='',
    help='photographs that set the ranges of int8 and the weights of static attention; without '
    '--check, the files are also compared on them',
  )
  parser.add_argument(
    '--static_attention', metavar='all|BLOCKS', default='',
    help="replaces the attention of all or some blocks by its mean weights on --calibrate's images",
  )
  parser.add_argument(
    '--tolerance', type=float, default=0.0,
    help="largest difference of a logit, relative to the largest logit (default: the format's); of "
    'a detector of a box, relative to the longer side of the images (default: 1e-4)',
  )
  parser.add_argument(
    '--force', action='store_true', help='write files that lose more than the format allows'
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


def run(args: argparse.Namespace) -> int:
  """Exports or checks, and returns 0.

  Raises:
    UserError: see the module's text.
  """
  from ecanet_jax.runtime.log import start_log

  if not args.run:
    return _check_again(args)
  formats, platforms = _check(args)
  size = _size(args.image_size)
  start_log()
  from ecanet_jax.cli.detectors.export import export_objects
  from ecanet_jax.detection.from_config import is_detector
  from ecanet_jax.export.check import normalised, photographs
  from ecanet_jax.export.export import export
  from ecanet_jax.export.options import ExportOptions
  from ecanet_jax.inference.classifier import load
  from ecanet_jax.inference.detector import is_detector_training
  from ecanet_jax.inference.find_images import find_images
  from ecanet_jax.runtime.accelerators import check_devices
  from ecanet_jax.runtime.compile_cache import keep_compiled_programs

  if is_detector(args.model):
    raise UserError(
      f'--model={args.model}: a file of a detector is converted first: ecanet_jax convert '
      f'{args.run} WEIGHTS --model={args.model}, and then ecanet_jax export WEIGHTS {args.out}.'
    )
  if not args.model and is_detector_training(args.run):
    keep_compiled_programs()
    check_devices()
    export_objects(args, formats, platforms, size)
    return 0
  if size and size[0] != size[1]:
    raise UserError(
      f'--image_size={args.image_size}: images of a classification network are squares; give one '
      f'number, such as --image_size={size[0]}.'
    )
  checked, calibrating = (
    find_images([folder]) if folder else [] for folder in (args.check, args.calibrate)
  )
  keep_compiled_programs()
  check_devices()
  classifier = load(
    args.run, model=args.model, dialect=args.dialect, kind=args.kind, checkpoint=args.checkpoint,
    preprocessing=args.preprocessing,
  )
  if size:
    classifier.preprocessing['image_size'] = size[0]
  data = classifier.preprocessing
  pixels = [photographs(_some(files), data) if files else None for files in (checked, calibrating)]
  gates = _static_gates(args, classifier, checked, pixels[1]) if args.static_attention else None
  given = pixels[1]
  if given is not None and args.preprocess == 'beside':
    given = normalised(given, data)
  options = ExportOptions(
    None if args.batch in ('', 'dynamic') else int(args.batch), platforms, given, args.force
  )
  export(
    classifier, args.out, formats, options, preprocess=args.preprocess, static_attention=gates,
    photographs=pixels[1] if pixels[0] is None else pixels[0], tolerance=args.tolerance,
    labels=args.labels, report=lambda result: print(result, flush=True),
  )
  print(f'{args.run} -> {args.out}')
  return 0


def _check(args: argparse.Namespace) -> tuple[list[str], tuple[str, ...]]:
  """Finds mistakes before anything is read; returns the formats and platforms."""
  from ecanet_jax.export.formats import FORMATS
  from ecanet_jax.export.forward import PREPROCESS
  from ecanet_jax.export.options import PLATFORMS
  from ecanet_jax.export.target import check_target

  if not args.out:
    raise UserError(f'OUT is missing; write ecanet_jax export {args.run} OUT.')
  if paths.is_remote(paths.to_path(args.out)):
    raise UserError(f'{args.out}: files are written to this machine; give a local directory.')
  formats, platforms = (
    [text.strip() for text in value.split(',') if text.strip()]
    for value in (args.format, args.platforms)
  )
  for what, names, known in (
    ('format', formats, FORMATS), ('platform', platforms, dict.fromkeys(PLATFORMS)),
    ('--preprocess', [args.preprocess], PREPROCESS),
  ):
    if not names:
      raise UserError(f'--{what}s: name one or more of {", ".join(known)}.')
    for name in names:
      lookup(known, name, what)
  if args.batch not in ('', 'dynamic') and not (args.batch.isdigit() and int(args.batch)):
    raise UserError(f'--batch={args.batch} must be dynamic, or a number of images from 1.')
  if args.tolerance < 0:
    raise UserError(f'--tolerance={args.tolerance} must be above 0.')
  if args.static_attention and not (args.check and args.calibrate):
    raise UserError(
      f'--static_attention={args.static_attention} needs --calibrate=DIR, whose photographs give '
      'the mean weights, and --check=DIR, whose accuracy decides.'
    )
  check_target(paths.to_path(args.out))
  return formats, tuple(platforms)


def _size(text: str) -> tuple[int, int] | None:
  """Height and width of `--image_size`; None for ''."""
  if not text:
    return None
  sides = text.split('x')
  if len(sides) > 2 or not all(side.isdigit() and int(side) for side in sides):
    raise UserError(
      f'--image_size={text} must be at least 1, such as 224, or HEIGHTxWIDTH of a detector.')
  return int(sides[0]), int(sides[-1])


def _check_again(args: argparse.Namespace) -> int:
  from ecanet_jax.export.export import check_again
  from ecanet_jax.runtime.log import start_log

  if not args.check:
    raise UserError(
      'nothing to do; write ecanet_jax export RUN OUT, or ecanet_jax export --check OUT.'
    )
  start_log()
  check_again(paths.to_path(args.check), report=lambda line: print(line, flush=True))
  return 0


def _some(files: list[str]) -> list[str]:
  """At most MOST of the files, at even distances: neighbours are of one class."""
  return files[:: -(-len(files) // MOST)]


def _static_gates(args: argparse.Namespace, classifier, checked: list[str], calibration):
  """The mean weights of the blocks, if the accuracy allows them.

  Raises:
    UserError: the accuracy falls by more than LOSS, and there is no --force.
  """
  import jax

  from ecanet_jax.export.accuracy import labels_of, top1
  from ecanet_jax.export.check import normalised
  from ecanet_jax.export.forward import float32_model, forward_of
  from ecanet_jax.export.static_gates import mean_gates

  data, model = classifier.preprocessing, float32_model(classifier)
  labels = labels_of(checked, args.check, classifier.label_names, model.num_classes)
  blocks = () if args.static_attention == 'all' else tuple(args.static_attention.split(','))
  gates = mean_gates(model, classifier.variables, normalised(calibration, data), blocks)
  program = jax.jit(lambda images: model.apply(classifier.variables, images, train=False))
  static = jax.jit(forward_of(classifier, static_attention=gates, backend='xla').apply)
  before, after = top1([program, static], checked, labels, data)
  result = (
    f'static attention in {len(gates)} blocks: top-1 {after:.2%} instead of {before:.2%} on '
    f'{len(checked):,} photographs'
  )
  if after < before - LOSS and not args.force:
    raise UserError(
      f'{result}; at most {LOSS:.0%} may be lost. Name fewer blocks, or write it with --force.'
    )
  print(result, flush=True)
  return gates
