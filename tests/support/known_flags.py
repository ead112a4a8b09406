"""Checks flags of an absl program without running it: python -m tests.support.known_flags PROGRAM

Reads a JSON list of commands, each a list of arguments, from standard input; writes a JSON list of
errors. `--config` and `--config.KEY` are left out: they are checked by loading the config.
"""

import importlib
import json
import sys

from absl import flags


def error(argument: str) -> str:
  """What is wrong with one argument, or ''."""
  name, _, value = argument.removeprefix('--').partition('=')
  if not argument.startswith('--'):
    return f'{argument!r} is no flag'
  if name == 'config' or name.startswith('config.'):
    return ''
  if name not in flags.FLAGS:
    return f'unknown flag --{name}'
  try:
    flags.FLAGS[name].parser.parse(value)
  except ValueError as problem:
    return f'{argument}: {problem}'
  return ''


if __name__ == '__main__':
  importlib.import_module(sys.argv[1])
  COMMANDS = json.load(sys.stdin)
  print(json.dumps([text for command in COMMANDS for text in map(error, command) if text]))
