"""Command line: `python -m ecanet_jax COMMAND`, one module for each command.

A command's module has `add_arguments(parser)` and `run(args) -> exit status`. Only the module of
the given command is imported, so `models` starts without TensorFlow. A command that takes
`--config.KEY=VALUE` also has `parse(parser, arguments)`.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence

from ecanet_jax.runtime.errors import UserError, lookup

COMMANDS = {
  'models': 'list the networks',
  'summary': "print a network's blocks and parameters",
  'prepare': 'prepare and verify a data set; the only command that uses the network',
  'convert': 'weights to PyTorch (timm) and back',
  'predict': 'name what is on pictures; a table, JSON, CSV or a contact sheet',
  'compile': 'compile a step for a TPU or GPU that is not here; memory, cycles, traffic',
  'sweep': 'train configs x variants x seeds; a table and pictures',
  'doctor': 'check versions, devices, disk and data, and say what to do',
}


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs one command; returns its exit status. A user's mistake is one line and status 2."""
  arguments = list(sys.argv[1:] if arguments is None else arguments)
  width = max(map(len, COMMANDS))
  listing = '\n'.join(f'  {name:<{width}}  {text}' for name, text in COMMANDS.items())
  usage = f'usage: python -m ecanet_jax COMMAND [--help]\n\ncommands:\n{listing}'
  if not arguments or arguments[0] in ('-h', '--help'):
    print(usage)
    return 0 if arguments else 2
  name, *rest = arguments
  try:
    if name == 'bench':
      raise UserError(
        "'bench' is not in the package: run python -m benchmarks in a checkout of the repository."
      )
    text = lookup(COMMANDS, name, 'command')
    command = importlib.import_module(f'ecanet_jax.cli.{name}')
    parser = argparse.ArgumentParser(f'python -m ecanet_jax {name}', description=text)
    command.add_arguments(parser)
    parse = getattr(command, 'parse', argparse.ArgumentParser.parse_args)
    return command.run(parse(parser, rest))
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  except BrokenPipeError:
    return 1
  except OSError as error:
    if not error.filename:
      raise
    print(f'error: {error.filename} cannot be read or written: {error.strerror}.', file=sys.stderr)
    return 2
