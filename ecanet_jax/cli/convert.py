"""`convert`: weights to PyTorch and back. The logits are compared before anything is written.

SOURCE decides the direction. The workdir of a training (or weights that this command wrote) becomes
a timm folder, or one file if TARGET ends in .safetensors, .npz or .pth. Everything else - a file, a
timm folder, a name of the hub (hf-hub:OWNER/NAME) - becomes weights that eval.py and train.py read.
A detector becomes one file, whose arrays are read back and compared.
"""

import argparse
import logging
from typing import Any

from ecanet_jax.cli.arguments import Renamed
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, lookup


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's arguments to `parser`."""
  parser.add_argument(
    'source', metavar='SOURCE',
    help='workdir of a training, timm folder, hf-hub:OWNER/NAME, or file: .safetensors, .npz or '
    '.pth; with --dialect=keras .keras or .h5; with --dialect=tf1 the prefix of a checkpoint',
  )
  parser.add_argument(
    'target', metavar='TARGET',
    help='directory to write, or a file that ends in .safetensors, .npz or .pth',
  )
  parser.add_argument('--model', help='name of the network, for a SOURCE that does not name it')
  parser.add_argument(
    '--dialect', default='',
    help='the code whose names a file has: timm (default), torchvision, lukemelas, ecanet, cadene, '
    'moskomule, and for import only tf1 and keras; each family of networks has some of them. Of '
    "detectors torchvision, torchvision_v1, mmdet1, and for import mmdet2 (default: the preset's, "
    'or what the file looks like)',
  )
  parser.add_argument(
    '--kind', default='ema',
    help='ema (default): the averaged weights, where there are any; raw: the weights as trained',
  )
  parser.add_argument(
    '--checkpoint', default='last', help='of a training: last (default), best or a step'
  )
  parser.add_argument(
    '--preprocessing', default='',
    help='of the images, for a file, which stores none: tf, lite, timm, torchvision, keras, '
    "inception (default: the network's)",
  )
  parser.add_argument(
    '--num_classes', type=int, help='replace the classifier by a new one for so many classes'
  )
  parser.add_argument(
    '--widen', action='store_true',
    help="pad ECA kernels that are smaller than the network's with zeros; the logits do not change",
  )
  parser.add_argument(
    '--bn_eps', type=float,
    help="detectors: of BatchNorm, for a file (default: 1e-5); torchvision's COCO_V1 needs 0",
  )
  parser.add_argument(
    '--push', metavar='OWNER/NAME', default='',
    help='also upload the written folder to the Hugging Face hub',
  )
  parser.add_argument(
    '--tolerance', type=float, default=1e-4, help='largest relative difference of the logits'
  )
  for old, new in {'--preset': '--preprocessing={}', '--weights': '--kind={}'}.items():
    parser.add_argument(old, action=Renamed, const=new, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
  """Converts and returns 0, or raises UserError before anything is written."""
  from ecanet_jax.checkpoints.files import is_checkpoint
  from ecanet_jax.runtime.accelerators import silence_libtpu
  from ecanet_jax.runtime.compile_cache import keep_compiled_programs
  from ecanet_jax.runtime.log import log, start_log
  from ecanet_jax.weights.files.formats import WRAPPERS

  start_log()
  silence_libtpu()
  log.setLevel(logging.WARNING)
  lookup(WRAPPERS, args.kind, '--kind')
  if not args.tolerance > 0:
    raise UserError(f'--tolerance={args.tolerance} must be above 0.')
  if args.num_classes is not None and args.num_classes < 1:
    raise UserError(f'--num_classes={args.num_classes} must be at least 1.')
  if args.bn_eps is not None and not args.bn_eps >= 0:
    raise UserError(f'--bn_eps={args.bn_eps} must be at least 0.')
  if paths.same_place(args.source, args.target):
    raise UserError(f'TARGET {args.target} is SOURCE; give another TARGET.')
  keep_compiled_programs()
  exports = is_checkpoint(args.source)
  if args.push:
    _check_push(args, exports)
  result = (_export if exports else _import)(args)
  print(f'{args.source} -> {args.target}: {result}')
  if args.push:
    from ecanet_jax.weights.hub.client import push_folder

    print(f'{args.target} -> {push_folder(args.target, args.push)}')
  return 0


def _export(args: argparse.Namespace):
  """Writes a checkpoint as a timm folder or a file."""
  from ecanet_jax.checkpoints.files import load_saved
  from ecanet_jax.cli.detectors.convert import export_detector
  from ecanet_jax.data.summary import DataSummary
  from ecanet_jax.detection.from_config import is_detector
  from ecanet_jax.evaluation.summary import origin
  from ecanet_jax.weights.export import export

  for flag in ('model', 'preprocessing', 'widen', 'bn_eps'):
    if (given := getattr(args, flag)) or isinstance(given, float):
      raise UserError(f'--{flag}={given}: the checkpoint has its own; leave --{flag} out.')
  saved = load_saved(args.source, ema=args.kind == 'ema', step=args.checkpoint)
  if is_detector(saved.config['model']['name']):
    return export_detector(args, saved)
  config, variables, summary = saved.config, saved.variables, DataSummary.from_json(saved.data)
  names = summary and summary.label_names
  data_name, evaluation = origin(config, saved.metrics)
  if args.num_classes:
    config, variables = _replace_classifier(config, variables, args.num_classes)
    evaluation, names, summary = '', None, None
  return export(
    config, variables, args.target, dialect=args.dialect or 'timm', tolerance=args.tolerance,
    label_names=names, multi_label=bool(summary and summary.multi_label), data_name=data_name,
    evaluation=evaluation,
  )


def _import(args: argparse.Namespace):
  """Writes a file or a folder as a checkpoint of step 0."""
  from ecanet_jax.checkpoints.files import save_weights
  from ecanet_jax.cli.detectors.convert import import_detector
  from ecanet_jax.data.preprocessing import describe
  from ecanet_jax.data.summary import DataSummary
  from ecanet_jax.detection.from_config import is_detector
  from ecanet_jax.weights.loaded_weights import read_weights
  from ecanet_jax.weights.verify import verify

  _check_target(args.target)
  if args.checkpoint != 'last':
    raise UserError(
      f'--checkpoint={args.checkpoint} is of a training, which {args.source} is not; leave '
      '--checkpoint out.')
  if args.model and is_detector(args.model):
    return import_detector(args)
  if args.bn_eps is not None:
    raise UserError(
      f'--bn_eps={args.bn_eps} is for detectors; name one by --model, or leave --bn_eps out.')
  loaded = read_weights(
    args.source, model={'name': args.model} if args.model else None, kind=args.kind,
    dialect=args.dialect or 'timm', preprocessing=args.preprocessing, widen=args.widen,
  )
  result = verify(
    loaded.create(), loaded.variables, loaded.state_dict, loaded.dialect,
    image_size=loaded.data['image_size'], tolerance=args.tolerance,
  )
  config, variables = _recipe(loaded.model, loaded.data), loaded.variables
  classes = loaded.create().num_classes
  summary = DataSummary(classes, loaded.label_names, multi_label=loaded.multi_label)
  if args.num_classes:
    config, variables = _replace_classifier(config, variables, args.num_classes)
    summary = DataSummary(args.num_classes)
  save_weights(args.target, config, variables, summary.to_json())
  print(f'{args.source}: preprocessing {loaded.data_source}: {describe(loaded.data)}')
  return result


def _check_push(args: argparse.Namespace, exports: bool) -> None:
  from ecanet_jax.weights.files.formats import is_file_name
  from ecanet_jax.weights.hub.client import check_repository

  if not exports or is_file_name(args.target):
    raise UserError(
      f'--push={args.push} uploads only a timm folder; give the workdir of a training as SOURCE '
      'and a directory as TARGET.'
    )
  if paths.is_remote(args.target):
    raise UserError(
      f'--push={args.push} uploads from a local directory; give one as TARGET instead of '
      f'{args.target}.'
    )
  check_repository(args.push)


def _replace_classifier(
  config: dict[str, Any], variables: dict[str, Any], num_classes: int
) -> tuple[dict[str, Any], dict[str, Any]]:
  from ecanet_jax.models.registry import create_from_config
  from ecanet_jax.weights.classifier import replace_classifier

  classes = create_from_config(config['model']).num_classes
  section, variables = replace_classifier(config['model'], variables, num_classes)
  was = f'classifier of {classes} classes is replaced by a' if classes else 'classifier is a'
  print(f'the {was} new one of {num_classes}, which has to be trained')
  return {**config, 'model': section}, variables


def _recipe(section: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
  """Returns a whole recipe for an imported network, as a training would save it."""
  from ecanet_jax.config.schema import get_config

  config = get_config().to_dict()
  attention = section.get('attention') or {}
  if isinstance(attention, str):
    attention = {'kind': attention}
  config['model'] |= {**section, 'attention': config['model']['attention'] | attention}
  config['data'] |= data
  return config


def _check_target(target: str) -> None:
  from ecanet_jax.weights.files.formats import is_file_name

  path = paths.to_path(target)
  if is_file_name(target):
    raise UserError(
      f'{target}: SOURCE already has the form of PyTorch; give a directory as TARGET.'
    )
  with paths.answers(path):
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
      raise UserError(f'{target} is not empty; give an empty or a new directory.')
