"""`summary`: a network's blocks, parameters and operations, counted by tracing the network."""

import argparse

from ecanet_jax.models import create_model, network
from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.models.count import CONVENTIONS, Count, count
from ecanet_jax.models.table import make_row
from ecanet_jax.nn.attention import ATTENTION, WHERE
from ecanet_jax.nn.block import Block
from ecanet_jax.runtime.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's arguments to `parser`."""
  parser.add_argument('model', help='a name that `models` lists')
  parser.add_argument('--image_size', type=int, default=0, help='pixels; 0 = as published')
  parser.add_argument('--num_classes', type=int, default=1000)
  parser.add_argument('--attention', help=f'override the kind: {", ".join(ATTENTION)}')
  parser.add_argument('--where', help=f'override the blocks: {", ".join(WHERE)}')


def run(args: argparse.Namespace) -> int:
  """Prints the blocks, the totals and the published figures; returns 0.

  Raises:
    UserError: an unknown name, or a size that the network cannot take.
  """
  record = network(args.model)
  size = args.image_size or record.image_size
  if size < 1:
    raise UserError(f'--image_size={size} must be at least 1 pixel.')
  model = create_model(
    args.model, num_classes=args.num_classes,
    attention={'kind': args.attention, 'where': args.where},
  )
  counted = count(model, size)
  print(f'{record.name}: {record.source}')
  for line in block_table(model, counted):
    print(line)
  total = counted.parameters()
  print(f'total: {total:,} parameters = {total / 1e6:.2f} x 10^6 = {total / 2**20:.2f} x 2^20; '
        f'{counted.statistics():,} running statistics; input {size} x {size}')
  for name, convention in CONVENTIONS.items():
    operations = counted.operations(convention=name)
    print(f'{name:<18}{operations:>17,.0f} = {operations / 1e6:,.2f} x 10^6 = '
          f'{operations / 2**20:,.2f} x 2^20: {convention.text}')
  print(f'{"activations":<18}{counted.activations():>17,}: output values of the convolutions')
  if args.num_classes == 1000 and not (args.attention or args.where or args.image_size):
    for published in record.published:
      row = make_row(record, published)
      for what, figure in (('parameters', row.parameters), ('operations', row.operations)):
        if figure:
          verdict = 'met' if figure.matches else f'NOT met, {published.why}'
          print(f'published {what}: {figure.printed} ({published.source}): {verdict}')
  return 0


def block_table(model: ConvNet, counted: Count):
  """Lines of the table: stem, every block, head."""
  yield (f'{"block":<16}{"kind":<12}{"kernel":>7}{"stride":>7}{"in":>6}{"mid":>6}{"out":>6}'
         f'{"skip":>6}  {"attention":<22}{"parameters":>12}{"multiply-adds":>16}'
         f'{"activations":>13}')
  blocks = {block.name: block for block in model.blocks()}
  have = {path.split('/')[1] for path in counted.shapes}
  others = [name for name in counted.quantities if name in have and name not in blocks]
  stem = [name for name in others if name.startswith('stem')]
  head = [name for name in others if name not in stem]
  for name in (*stem, *blocks, *head):
    facts = _facts(model, blocks[name]) if name in blocks else f'{name:<88}'
    yield (f'{facts}{counted.parameters(name):>12,}'
           f'{counted.operations(name):>16,.0f}{counted.activations(name):>13,}')


def _facts(model: ConvNet, block: Block) -> str:
  return (f'{block.name:<16}{block.kind:<12}{block.kernel:>7}{block.stride:>7}'
          f'{block.in_channels:>6}{block.mid_channels:>6}{block.out_channels:>6}'
          f'{"yes" if block.has_skip else "no":>6}  {describe_attention(model, block):<22}')


def describe_attention(model: ConvNet, block: Block) -> str:
  """Kind, numbers and position, such as 'eca k=5 depthwise' or 'se r=8 end'; '-' = none."""
  slot = model.slot(block)
  if not slot.position:
    return '-'
  kind = model.attention.kind
  return ' '.join(filter(None, (kind, ATTENTION[kind].describe(model.attention, slot),
                                slot.position)))
