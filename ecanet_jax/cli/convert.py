"""`convert`: weights to PyTorch and back; the logits are compared before anything is written.

A training's workdir (or weights that this command wrote) becomes a timm hub folder, or one file if
TARGET ends in .safetensors. A .safetensors or PyTorch file, or a timm folder, becomes weights that
eval.py reads.
"""

import argparse
import os
import pathlib
from typing import Any

from ecanet_jax.errors import UserError, lookup


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    'source', metavar='SOURCE', help='workdir of a training, file (.safetensors, .pth), timm folder'
  )
  parser.add_argument(
    'target', metavar='TARGET', help='directory to write, or a file that ends in .safetensors'
  )
  parser.add_argument('--model', help='name of the network, for a SOURCE that does not tell')
  parser.add_argument('--dialect', default='timm', help='whose names: timm (default), lukemelas')
  parser.add_argument(
    '--weights', default='ema', help='ema: the averaged weights where there are any; raw: never'
  )
  parser.add_argument(
    '--tolerance', type=float, default=1e-4, help='largest relative difference of the logits'
  )


def run(args: argparse.Namespace) -> int:
  """Converts; returns 0 or raises UserError before anything is written."""
  from ecanet_jax.training.checkpoint import is_checkpoint
  from ecanet_jax.weights.files import WRAPPERS

  lookup(WRAPPERS, args.weights, '--weights')
  if not args.tolerance > 0:
    raise UserError(f'--tolerance={args.tolerance} must be above 0.')
  if not os.path.exists(args.source):
    raise UserError(f'{args.source}: no such file or directory.')
  if os.path.realpath(args.source) == os.path.realpath(args.target):
    raise UserError(f'TARGET {args.target} is SOURCE; give another.')
  result = (_export if is_checkpoint(args.source) else _import)(args)
  print(f'{args.source} -> {args.target}: {result}')
  return 0


def _export(args: argparse.Namespace):
  from ecanet_jax.training.checkpoint import load_weights
  from ecanet_jax.weights.export import export

  if args.model:
    raise UserError(f'--model={args.model}: the checkpoint names its network; leave --model out.')
  config, variables = load_weights(args.source, ema=args.weights == 'ema')
  return export(
    config, variables, args.target, dialect=args.dialect, tolerance=args.tolerance
  )


def _import(args: argparse.Namespace):
  from ecanet_jax.models.registry import create_from_config, network
  from ecanet_jax.training.checkpoint import save_weights
  from ecanet_jax.weights.convert import from_torch, strip_prefixes
  from ecanet_jax.weights.verify import verify

  _check_target(args.target)
  section, data, state_dict = _read(args)
  config = _config(section, data)
  model = create_from_config(config['model'])
  state_dict = strip_prefixes(state_dict)
  folder = pathlib.Path(args.source).is_dir()
  dialect = network(section['name']).timm_dialect if folder else args.dialect
  variables = from_torch(model, state_dict, dialect)
  result = verify(
    model, variables, state_dict, dialect, image_size=config['data']['image_size'],
    tolerance=args.tolerance,
  )
  save_weights(args.target, config, variables)
  return result


def _read(args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
  """The `model` section, what is known of the `data` section, and the state dict of SOURCE."""
  from ecanet_jax.models import create_model, network
  from ecanet_jax.weights import files, folder
  from ecanet_jax.weights.convert import count_classes

  path = pathlib.Path(args.source)
  if path.is_dir() and not (path / folder.CONFIG).exists():
    raise UserError(
      f'{path} has neither checkpoints of a training nor the {folder.CONFIG} of a timm folder.'
    )
  if path.is_dir() and args.dialect != 'timm':
    raise UserError(f'--dialect={args.dialect}: a folder has the names of timm; leave it out.')
  if path.is_dir() and not args.model:
    source = folder.read_folder(path)
    return source.model, source.data, source.state_dict
  if not args.model:
    raise UserError(f'{path} does not say which network it is; give --model=NAME.')
  record = network(args.model)
  file = path / folder.WEIGHTS if path.is_dir() else path
  state_dict = files.read_state_dict(str(file), args.weights)
  model = create_model(record.name)
  section = {
    'name': record.name,
    'num_classes': count_classes(model, state_dict, args.dialect) or model.num_classes,
  }
  print(
    f'{path} has no preprocessing: the weights get the mean, std and crop of configs/base.py, '
    'which an evaluation can override.'
  )
  return section, {'image_size': record.image_size}, state_dict


def _config(section: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
  """A whole recipe around an imported network, as a training would have saved it."""
  from configs.base import get_config

  config = get_config().to_dict()
  attention = section.get('attention') or {}
  if isinstance(attention, str):
    attention = {'kind': attention}
  config['model'] |= {**section, 'attention': config['model']['attention'] | attention}
  config['data'] |= data
  return config


def _check_target(target: str) -> None:
  path = pathlib.Path(target)
  if target.endswith('.safetensors'):
    raise UserError(f'{target}: SOURCE is in PyTorch form already; TARGET must be a directory.')
  if path.exists() and (not path.is_dir() or any(path.iterdir())):
    raise UserError(f'{target} is not empty; give an empty or a new directory.')
