"""`python -m benchmarks`: images per second beside timm; see `benchmarks.command`."""

import argparse
import sys

from benchmarks import command
from ecanet_jax.runtime.errors import UserError


def main() -> int:
  """Runs the benchmark; a user's mistake is one line and status 2."""
  parser = argparse.ArgumentParser('python -m benchmarks', description='measure against timm')
  command.add_arguments(parser)
  try:
    return command.run(parser.parse_args())
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2


if __name__ == '__main__':
  sys.exit(main())
