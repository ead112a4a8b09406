"""`finetune`: trains weights on your own images.

    ecanet_jax finetune WEIGHTS IMAGES [--preset=full] [--epochs=N] [--config.KEY=VALUE]

The recipe is configs/finetune.py. The weights give the network and the preprocessing, the folder
gives the classes, and its size the number of epochs and the batch size. The same command again
resumes. At the end the workdir has the evaluation with a picture of the confusion, and an export
for PyTorch.
"""

import argparse
import pathlib
import re

from ecanet_jax.cli import devices
from ecanet_jax.cli.arguments import Parser, keys_of, parse_overrides
from ecanet_jax.cli.config import load_config, load_stored_config
from ecanet_jax.cli.finetune.defaults import EPOCHS, PRESETS, fit
from ecanet_jax.cli.training_packages import check_packages
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, lookup
from ecanet_jax.runtime.log import start_log

parse = parse_overrides


def add_arguments(parser: Parser) -> None:
  """Adds the command's arguments to `parser`."""
  parser.epilog = 'Any config key may be given as --config.KEY=VALUE.'
  parser.add_argument(
    'weights', metavar='WEIGHTS',
    help="a training's workdir, converted weights, a timm folder, hf-hub:OWNER/NAME, or a file "
    'with --config.model.name=NAME',
  )
  parser.add_argument(
    'images', metavar='IMAGES',
    help='a folder with a folder for each class; or with the folders train and val, which have '
    'them',
  )
  parser.add_argument(
    '--workdir', default='',
    help='directory of checkpoints and results (default: runs/finetune-IMAGES-WEIGHTS-PRESET)',
  )
  parser.add_argument(
    '--preset', default='full',
    help='full (default): everything is trained; layer_decay: early stages are trained with a '
    'smaller learning rate; head: only the classifier is trained, which is quick',
  )
  parser.add_argument(
    '--epochs', type=float,
    help=f'passes over the training images (default: {EPOCHS}, or more for few images)',
  )
  devices.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
  """Trains, evaluates and exports; returns 0.

  Raises:
    UserError: a mistake in the arguments, the weights or the images.
    Interrupted: a signal was received and the training is saved.
  """
  start_log()
  preset = lookup(PRESETS, args.preset, '--preset')
  args.workdir = args.workdir or default_workdir(args.weights, args.images, args.preset)
  if args.epochs is not None:
    args.overrides.append(f'--config.epochs={args.epochs}')
  given = keys_of(args.overrides)
  for key, name in (('init.weights', 'WEIGHTS'), ('data.data_dir', 'IMAGES')):
    if key in given:
      raise UserError(f'--config.{key} is the argument {name}; leave --config.{key} out.')
  config = load_config('finetune', args.overrides)
  check_packages(config)
  devices.start(args)
  from ecanet_jax.checkpoints.files import is_checkpoint
  from ecanet_jax.training.trainer import train_and_evaluate

  if is_checkpoint(args.workdir):
    config = _stored(args)
  else:
    _check_weights(args.weights, given)
    config.init.weights, config.data.data_dir = args.weights, args.images
    config.update_from_flattened_dict(
      {key: value for key, value in preset.items() if key not in given}
    )
    fit(config, given)
  train_and_evaluate(config, args.workdir, given)
  _report(args.workdir, args.images)
  return 0


def default_workdir(weights: str, images: str, preset: str) -> str:
  """runs/finetune-IMAGES-WEIGHTS-PRESET, with the last parts of the two paths."""
  last = lambda path: re.sub(r'[^\w.-]+', '-', pathlib.PurePath(path).name) or 'images'
  here = images if pathlib.PurePath(images).name else str(pathlib.Path(images).absolute())
  return f'runs/finetune-{last(here)}-{last(weights)}-{preset}'


def _check_weights(weights: str, given: list[str]) -> None:
  """Checks what is known without reading the weights."""
  from ecanet_jax.weights.hub.client import is_hub_name

  if is_hub_name(weights):
    return
  path = paths.to_path(weights)
  with paths.answers(path):
    if not path.exists():
      raise UserError(f'WEIGHTS {weights}: no such file or directory.')
    if not path.is_dir() and 'model.name' not in given:
      raise UserError(
        f'{weights} is a file, which does not name its network; give --config.model.name=NAME. '
        'ecanet_jax models lists the names.'
      )


def _stored(args: argparse.Namespace):
  """The config of the training in the workdir, which must be of the same weights."""
  config = load_stored_config(args.workdir, args.overrides)
  for value, given, what in (
    (config.init.weights, args.weights, 'weights'), (config.data.data_dir, args.images, 'images'),
  ):
    if not value or not paths.same_place(value, given):
      raise UserError(
        f'{args.workdir} has a training of other {what}, {value or "none"} instead of {given}; '
        'give another --workdir.'
      )
  return config


def _report(workdir: str, images: str) -> None:
  """Evaluates the last checkpoint, and says where the results are and how to use them."""
  import jax

  from ecanet_jax.evaluation.evaluate_weights import evaluate_weights

  config = load_stored_config(workdir)
  evaluate_weights(config, workdir, report=f'{workdir}/evaluation')
  if jax.process_index() > 0:
    return
  print(f'accuracy of each class and confusion: {workdir}/evaluation')
  if config.export:
    print(f'for PyTorch (timm): {workdir}/export')
  print(f'predict: ecanet_jax predict {workdir} {_example(paths.to_path(images))}', flush=True)


def _example(folder: paths.Path) -> paths.Path:
  """The first picture in a folder."""
  for path in sorted(folder.iterdir()):
    if not path.name.startswith('.'):
      return _example(path) if path.is_dir() else path
  return folder
