"""`analyse`: what a trained network does, as pictures, tables and arrays.

    ecanet_jax analyse KIND RUN... [--out=DIR]

A module for each kind has `add_arguments(parser)` and `run(args) -> exit status`.
"""

import argparse
import importlib
from collections.abc import Sequence

from ecanet_jax.cli.arguments import Parser
from ecanet_jax.runtime.errors import UserError, lookup

KINDS = {
  'attention': 'mean attention weights by class',
  'cam': 'where on photographs a network sees a class',
  'curves': 'top-1 and training loss over images seen and over time',
  'gap': 'globally averaged channels of single images',
  'kernel': "ECA's kernels, their sizes and frequency responses",
  'pruning': 'top-1 without the channels that attention calls unimportant',
  'static': 'top-1 with constant attention, block by block',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's arguments to `parser`; each kind has more."""
  listing = '; '.join(f'{name}: {text}' for name, text in KINDS.items())
  parser.add_argument('kind', metavar='KIND', help=f'{listing}. KIND --help lists its arguments')
  parser.add_argument('rest', metavar='ARGUMENTS', nargs=argparse.REMAINDER, help='of the kind')


def parse(parser: Parser, arguments: Sequence[str]) -> argparse.Namespace:
  """Parses the arguments of a kind; `command` is the module that runs it.

  Raises:
    UserError: there is no kind, an unknown one, or a mistake in its arguments.
  """
  if not arguments or arguments[0] in ('-h', '--help'):
    parser.parse_args(arguments)
  name, *rest = arguments
  if name.startswith('-'):
    raise UserError(
      f'{name!r} stands before the kind; write {parser.prog} KIND RUN... {name}. Kinds: '
      f'{", ".join(KINDS)}.'
    )
  text = lookup(KINDS, name, 'kind of analysis')
  kind = importlib.import_module(f'ecanet_jax.cli.analyse.{name}')
  own = Parser(f'{parser.prog} {name}', description=text)
  kind.add_arguments(own)
  args = own.parse_args(rest)
  args.command = kind
  return args


def run(args: argparse.Namespace) -> int:
  """Runs the kind; returns its exit status."""
  return args.command.run(args)
