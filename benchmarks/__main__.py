"""`python -m benchmarks`: images per second beside timm; see `benchmarks.command`.

`python -m benchmarks latency`: milliseconds of one image in other runtimes; see
`benchmarks.latency.command`.
"""

import argparse
import sys

from benchmarks import command
from ecanet_jax.runtime.errors import UserError


def main() -> int:
  """Runs a benchmark; a user's mistake is one line and status 2."""
  program, name, flags = command, 'python -m benchmarks', sys.argv[1:]
  if flags[:1] == ['latency']:
    from benchmarks.latency import command as program

    name, flags = f'{name} latency', flags[1:]
  parser = argparse.ArgumentParser(name, description=program.__doc__.splitlines()[0])
  program.add_arguments(parser)
  try:
    return program.run(parser.parse_args(flags))
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2


if __name__ == '__main__':
  sys.exit(main())
