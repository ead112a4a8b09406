"""`models`: the registered networks."""

import argparse

from ecanet_jax.errors import UserError, closest
from ecanet_jax.models import list_models, network


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument('pattern', nargs='?', default='*', help="shell pattern, such as '*eca*'")


def run(args: argparse.Namespace) -> int:
  names = list_models(args.pattern)
  if not names:
    known = list_models()
    raise UserError(
      f'no model matches {args.pattern!r}.{closest(args.pattern, known)} '
      f'Known: {", ".join(known)}.'
    )
  width = max(map(len, names))
  for name in names:
    record = network(name)
    size = f'{record.parameters:>11,}' if record.parameters else f'{"-":>11}'
    print(f'{name:<{width}}  {size}  {record.source}')
  return 0
