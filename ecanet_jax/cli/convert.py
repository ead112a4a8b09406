"""`convert`: weights to PyTorch and back; the logits are compared before anything is written.

A training's workdir (or weights that this command wrote) becomes a timm hub folder, or one file if
TARGET ends in .safetensors or .npz. Such a file, a PyTorch file, a timm folder or a name of the hub
(hf-hub:OWNER/NAME) becomes weights that eval.py reads.
"""

import argparse
import concurrent.futures
import os
import pathlib
from typing import Any

from ecanet_jax.runtime.errors import UserError, lookup


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    'source', metavar='SOURCE',
    help='workdir of a training, timm folder, hf-hub:OWNER/NAME, file (.safetensors, .npz, .pth; '
    'with --dialect=keras .keras or .h5, with --dialect=tf1 the prefix of a checkpoint)',
  )
  parser.add_argument(
    'target', metavar='TARGET',
    help='directory to write, or a file that ends in .safetensors or .npz',
  )
  parser.add_argument('--model', help='name of the network, for a SOURCE that does not tell')
  parser.add_argument('--dialect', default='timm', help="whose names a file has: timm (default), "
    "torchvision, lukemelas, ecanet, cadene, moskomule, and for import alone tf1 and keras, as far "
    "as the network's family has them")
  parser.add_argument(
    '--weights', default='ema', help='ema: the averaged weights where there are any; raw: never'
  )
  parser.add_argument(
    '--preset', default='',
    help='preprocessing of a file, which has none: tf, lite, timm, torchvision, keras, inception '
    "(default: the network's)",
  )
  parser.add_argument(
    '--num_classes', type=int, help='keep all but the classifier, which is initialised afresh'
  )
  parser.add_argument(
    '--widen', action='store_true',
    help="put zeros beside ECA kernels that are smaller than the network's; it computes the same",
  )
  parser.add_argument(
    '--push', metavar='OWNER/NAME', default='',
    help='upload the written folder to the Hugging Face hub too',
  )
  parser.add_argument(
    '--tolerance', type=float, default=1e-4, help='largest relative difference of the logits'
  )


def run(args: argparse.Namespace) -> int:
  """Converts; returns 0 or raises UserError before anything is written."""
  from ecanet_jax.checkpoints.files import is_checkpoint
  from ecanet_jax.runtime.compile_cache import keep_compiled_programs
  from ecanet_jax.weights.files.formats import WRAPPERS

  lookup(WRAPPERS, args.weights, '--weights')
  if not args.tolerance > 0:
    raise UserError(f'--tolerance={args.tolerance} must be above 0.')
  if args.num_classes is not None and args.num_classes < 1:
    raise UserError(f'--num_classes={args.num_classes} must be at least 1.')
  if os.path.realpath(args.source) == os.path.realpath(args.target):
    raise UserError(f'TARGET {args.target} is SOURCE; give another.')
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
  from ecanet_jax.checkpoints.files import load_evaluated
  from ecanet_jax.evaluation.summary import origin
  from ecanet_jax.weights.export import export

  for flag in ('model', 'preset', 'widen'):
    if given := getattr(args, flag):
      raise UserError(f'--{flag}={given}: the checkpoint says which; leave --{flag} out.')
  config, variables, metrics = load_evaluated(args.source, ema=args.weights == 'ema')
  data_name, evaluation = origin(config, metrics)
  if args.num_classes:
    config, variables = _replace_classifier(config, variables, args.num_classes)
    evaluation = ''
  return export(
    config, variables, args.target, dialect=args.dialect, tolerance=args.tolerance,
    data_name=data_name, evaluation=evaluation,
  )


def _import(args: argparse.Namespace):
  from ecanet_jax.checkpoints.files import save_weights
  from ecanet_jax.data.preprocessing import describe
  from ecanet_jax.weights.source import read_source
  from ecanet_jax.weights.verify import verify

  _check_target(args.target)
  source = read_source(
    args.source, model={'name': args.model} if args.model else None, dialect=args.dialect,
    weights=args.weights, preset=args.preset, widen=args.widen,
  )
  config, variables = _config(source.model, source.data), source.variables
  if args.num_classes:
    config, variables = _replace_classifier(config, variables, args.num_classes)
  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    result = pool.submit(
      verify, source.create(), source.variables, source.state_dict, source.dialect,
      image_size=source.data['image_size'], tolerance=args.tolerance, read=source.variables,
    )
    save_weights(args.target, config, variables, verify=result.result)
  print(f'{args.source}: preprocessing {source.preprocessing}: {describe(source.data)}')
  return result.result()


def _check_push(args: argparse.Namespace, exports: bool) -> None:
  from ecanet_jax.weights.files.formats import is_file_name
  from ecanet_jax.weights.hub.client import check_repository

  if not exports or is_file_name(args.target):
    raise UserError(f'--push={args.push}: only a folder that is made of a checkpoint is pushed.')
  check_repository(args.push)


def _replace_classifier(config: dict[str, Any], variables: dict[str, Any], num_classes: int):
  from ecanet_jax.models.registry import create_from_config
  from ecanet_jax.weights.classifier import replace_classifier

  former = create_from_config(config['model']).num_classes
  section, variables = replace_classifier(config['model'], variables, num_classes)
  print(
    f'the classifier of {former} classes is left out; one of {num_classes} classes is initialised '
    'afresh and has to be trained'
  )
  return {**config, 'model': section}, variables


def _config(section: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
  """A whole recipe around an imported network, as a training would have saved it."""
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

  path = pathlib.Path(target)
  if is_file_name(target):
    raise UserError(f'{target}: SOURCE is in PyTorch form already; TARGET must be a directory.')
  if path.exists() and (not path.is_dir() or any(path.iterdir())):
    raise UserError(f'{target} is not empty; give an empty or a new directory.')
