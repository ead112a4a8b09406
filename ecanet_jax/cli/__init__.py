"""Command line: `ecanet_jax COMMAND` or `python -m ecanet_jax COMMAND`, one module for each.

A command's module has `add_arguments(parser)` and `run(args) -> exit status`. Only the module of
the given command is imported, so `models` starts without TensorFlow. A command that takes
`--config.KEY=VALUE` also has `parse(parser, arguments)`.
"""

import importlib
import sys
from collections.abc import Sequence

from ecanet_jax.cli.arguments import Parser
from ecanet_jax.cli.exit_status import exit_status
from ecanet_jax.runtime.errors import UserError, lookup
from ecanet_jax.version import __version__

COMMANDS = {
  'train': 'train a network; the same command again resumes',
  'eval': 'evaluate a training, or weights of any form',
  'finetune': 'train weights on your own images',
  'models': 'list the networks',
  'summary': "print a network's blocks and parameters",
  'prepare': 'fetch a data set, or read its files; write it in the form for training; verify it',
  'convert': 'weights to PyTorch (timm) and back',
  'export': 'a trained network as StableHLO, SavedModel, ONNX; each file is compared',
  'predict': 'name what is on pictures; a table, JSON, CSV or a contact sheet',
  'compile': 'compile a step for a TPU or GPU that is not here; memory, cycles, traffic',
  'sweep': 'train configs x variants x seeds; a table and pictures',
  'analyse': 'what the attention of trained networks does; pictures and tables',
  'doctor': 'check versions, devices, disk and data, and say what to do',
}
RESUMES = ('train', 'eval', 'finetune')  # may be interrupted and given again
NETWORK = """\
These use the network: `prepare`, to download a data set; names of the hub (hf-hub:OWNER/NAME) and
`convert --push`; paths in a bucket (gs://); config.trackers; the processes of one training, among
each other.
"""


def main(arguments: Sequence[str] | None = None, program: str = '') -> int:
  """Runs one command; returns its exit status. A user's mistake is one line and status 2.

  Args:
    arguments: the command's name and its arguments; default: those of this process.
    program: the name for the help text, of a program that is one command.
  """
  name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ['']
  if name in ('', '-h', '--help'):
    width = max(map(len, COMMANDS))
    listing = '\n'.join(f'  {each:<{width}}  {text}' for each, text in COMMANDS.items())
    print('usage: ecanet_jax COMMAND [--help]\n       ecanet_jax --version\n\n'
          f'commands:\n{listing}\n\n{NETWORK}', end='')
    return 0 if name else 2
  if name == '--version':
    print(f'ecanet_jax {__version__}')
    return 0
  return exit_status(
    lambda: _run(name, rest, program or f'ecanet_jax {name}'), resumes=name in RESUMES
  )


def _run(name: str, arguments: Sequence[str], program: str) -> int:
  if name == 'bench':
    raise UserError(
      "'bench' is not in the package: run python -m benchmarks in a checkout of the repository."
    )
  text = lookup(COMMANDS, name, 'command')
  command = importlib.import_module(f'ecanet_jax.cli.{name}')
  parser = Parser(program, description=text)
  command.add_arguments(parser)
  parse = getattr(command, 'parse', Parser.parse_args)
  return command.run(parse(parser, arguments))
