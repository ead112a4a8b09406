"""`summary`: a network's blocks and parameters, traced from the network itself."""

import argparse

import jax
import jax.numpy as jnp

from ecanet_jax.attention import ATTENTION, WHERE
from ecanet_jax.errors import UserError
from ecanet_jax.models import create_model, network


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument('model', help='a name that `models` lists')
  parser.add_argument('--image_size', type=int, default=0, help='pixels; 0 = as published')
  parser.add_argument('--num_classes', type=int, default=1000)
  parser.add_argument('--attention', help=f'override the kind: {", ".join(ATTENTION)}')
  parser.add_argument('--where', help=f'override the blocks: {", ".join(WHERE)}')


def run(args: argparse.Namespace) -> int:
  record = network(args.model)
  size = args.image_size or record.image_size
  if size < 1:
    raise UserError(f'--image_size={size} must be at least 1 pixel.')
  model = create_model(
    args.model, num_classes=args.num_classes,
    attention={'kind': args.attention, 'where': args.where},
  )
  shapes = trace(model, size)
  print(f'{record.name}: {record.source}')
  print(f'{"block":<14}{"kernel":>7}{"stride":>7}{"in":>6}{"mid":>6}{"out":>6}{"skip":>6}'
        f'  {"attention":<12}{"parameters":>12}')
  for block in model.blocks():
    tree = shapes['params'][block.name]
    print(f'{block.name:<14}{block.kernel:>7}{block.stride:>7}{block.in_channels:>6}'
          f'{block.expanded:>6}{block.out_channels:>6}{"yes" if block.has_skip else "no":>6}'
          f'  {describe_attention(tree.get("attention")):<12}{count(tree):>12,}')
  for name in shapes['params']:
    if not name.startswith('blocks_'):
      print(f'{name:<64}{count(shapes["params"][name]):>12,}')
  total = count(shapes['params'])
  print(f'total: {total:,} parameters = {total / 1e6:.2f} x 10^6 = {total / 2**20:.2f} x 2^20; '
        f'{count(shapes["batch_stats"]):,} running statistics; input {size} x {size}')
  if record.parameters and args.num_classes == 1000 and not (args.attention or args.where):
    same = 'equal to' if total == record.parameters else f'NOT the published {record.parameters:,},'
    print(f'{same} the published count')
  return 0


def trace(model, image_size: int):
  """Shapes of the network's variables, without allocating any."""
  image = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
  return jax.eval_shape(lambda key, x: model.init(key, x, train=False), jax.random.key(0), image)


def count(tree) -> int:
  """Number of values in a tree of shapes."""
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def describe_attention(tree) -> str:
  """'eca k=3', 'se r=8' or '-', read off the parameters of the block's attention."""
  if tree is None:
    return '-'
  if 'reduce' in tree:
    return f'se r={tree["reduce"]["kernel"].shape[1]}'
  return f'eca k={tree["kernel"].shape[0]}'
