"""`python -m benchmarks`: images per second beside timm; see `benchmarks.command`.

`python -m benchmarks twin` compares the accuracy at the end of a training; see
`benchmarks.twin.command`.
"""

import argparse
import sys

from benchmarks import command
from benchmarks.twin import command as twin
from ecanet_jax.runtime.errors import UserError


def main() -> int:
  """Runs the benchmark; a user's mistake is one line and status 2."""
  parser = argparse.ArgumentParser(
    'python -m benchmarks', description='measure against timm',
    epilog='python -m benchmarks twin --help: the accuracy at the end of a training.',
  )
  command.add_arguments(parser)
  try:
    if sys.argv[1:2] == ['twin']:
      return twin.run(sys.argv[2:])
    return command.run(parser.parse_args())
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2


if __name__ == '__main__':
  sys.exit(main())
