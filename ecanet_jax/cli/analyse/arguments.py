"""What the kinds of analysis share: arguments, and what they begin and end with."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from ecanet_jax.cli.training_packages import check_matplotlib
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.log import log, start_log

RUN = 'workdir of a training, weights of any form with --data, or an earlier {}.npz'


def add_runs(parser: argparse.ArgumentParser, text: str) -> None:
  """Adds RUN... and --out; `text` describes a RUN."""
  parser.add_argument('runs', metavar='RUN', nargs='+', help=text)
  parser.add_argument('--out', default='analysis', help='folder to write (default: analysis)')


def add_model(parser: argparse.ArgumentParser) -> None:
  """Adds --model."""
  parser.add_argument('--model', default='', help='the network, for a file that does not name it')


def add_blocks(parser: argparse.ArgumentParser) -> None:
  """Adds --blocks."""
  parser.add_argument(
    '--blocks', default='',
    help='separated by commas, such as blocks_2_5; of a ResNet also conv_4_6 (default: all)',
  )


def add_images(parser: argparse.ArgumentParser) -> None:
  """Adds --data, --model and --batch_size."""
  parser.add_argument(
    '--data', default='', metavar='DIR',
    help="pictures in a subfolder for each class (default: a training's own evaluation split)",
  )
  add_model(parser)
  parser.add_argument('--batch_size', type=int, default=64, help='images computed together')


def source(args: argparse.Namespace) -> Any:
  """The `analysis.run.Source` of the arguments of `add_images`."""
  from ecanet_jax.analysis.run import Source

  return Source(data=args.data, model=args.model, batch_size=args.batch_size)


def blocks(args: argparse.Namespace) -> list[str]:
  """The names in --blocks."""
  return [name.strip() for name in args.blocks.split(',') if name.strip()]


def check_least(args: argparse.Namespace, **least: int) -> None:
  """Checks that flags are not too small.

  Raises:
    UserError: one is.
  """
  for flag, value in least.items():
    if getattr(args, flag) < value:
      raise UserError(f'--{flag}={getattr(args, flag)} must be at least {value}.')


def start() -> None:
  """Begins the log, finds the accelerators, and keeps compiled programs."""
  check_matplotlib()
  from ecanet_jax.runtime.accelerators import check_devices
  from ecanet_jax.runtime.compile_cache import keep_compiled_programs

  start_log()
  keep_compiled_programs()
  check_devices()


def results(
  args: argparse.Namespace, kind: str, from_arrays: Callable[..., list], of_run: Callable[..., Any]
) -> list[Any]:
  """The results of all runs: read from a KIND.npz, or computed by `of_run(path)`."""
  from ecanet_jax.analysis.files import is_arrays, read_arrays

  found = []
  for name in args.runs:
    found += from_arrays(read_arrays(name, kind)) if is_arrays(name) else [of_run(name)]
  return found


def titles(found: Sequence[Any]) -> list[str]:
  """The titles of runs in a picture; several runs have their names, too."""
  if len(found) == 1:
    return [found[0].title]
  short = paths.short_names([each.path for each in found])
  return [f'{name}\n{each.title}' for name, each in zip(short, found, strict=True)]


def folder(args: argparse.Namespace) -> paths.Path:
  """The folder of --out, which is made if it is missing."""
  out = paths.absolute(paths.to_path(args.out))
  paths.make_directory(out)
  return out


def say_written(out: paths.Path, *names: str) -> None:
  """Logs the names of the files."""
  log.info('written to %s: %s', out, ', '.join(names))
