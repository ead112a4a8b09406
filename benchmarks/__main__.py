"""The bench programs: `python -m benchmarks [PROGRAM]`.

Without a program: images per second beside timm (`benchmarks.command`). `twin`: the accuracy at the
end of a training beside PyTorch's (`benchmarks.twin.command`). `latency`: milliseconds of one image
in other runtimes (`benchmarks.latency.command`). `detection`: a Mask R-CNN beside torchvision's
(`benchmarks.detection.command`). `operations`: single convolutions on a CPU
(`benchmarks.operations.command`).
"""

import argparse
import importlib
import sys

from ecanet_jax.runtime.errors import UserError

PROGRAMS = {
  'twin': 'the accuracy at the end of a training, beside PyTorch',
  'latency': 'milliseconds of one image in other runtimes',
  'detection': "a trained Mask R-CNN beside torchvision's, on digit scenes",
  'operations': "single convolutions on a CPU, XLA's and our kernels'",
}


def main() -> int:
  """Runs a program; a user's mistake is one line and status 2."""
  name, flags = '', sys.argv[1:]
  if flags and flags[0] in PROGRAMS:
    name, *flags = flags
  program = importlib.import_module(f'benchmarks.{name}.command' if name else 'benchmarks.command')
  try:
    return program.run(_parse(program, name, flags))
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2


def _parse(program, name: str, flags: list[str]):
  """The arguments of a program; `twin` takes keys of a config and parses them itself."""
  if name == 'twin':
    return flags
  listing = '; '.join(f'python -m benchmarks {each}: {text}' for each, text in PROGRAMS.items())
  parser = argparse.ArgumentParser(
    f'python -m benchmarks {name}'.rstrip(), description=PROGRAMS.get(name, 'measure against timm'),
    epilog=None if name else f'Others: {listing}.',
  )
  program.add_arguments(parser)
  return parser.parse_args(flags)


if __name__ == '__main__':
  sys.exit(main())
