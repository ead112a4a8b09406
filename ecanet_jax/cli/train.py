"""`train`: trains a network.

    ecanet_jax train --config=eca_b0 --workdir=DIR [--config.KEY=VALUE]

The same command again resumes from the newest checkpoint in DIR. A config is Python code that this
program runs.
"""

import argparse
from typing import Any

from ecanet_jax.cli import devices
from ecanet_jax.cli.arguments import Parser, keys_of, parse_overrides
from ecanet_jax.cli.config import load_config
from ecanet_jax.cli.training_packages import check_packages
from ecanet_jax.runtime.log import start_log

parse = parse_overrides


def add_arguments(parser: Parser) -> None:
  """Adds the command's arguments to `parser`."""
  parser.epilog = (
    'Any config key may be given as --config.KEY=VALUE; =None unsets an optional one.'
  )
  parser.add_argument(
    '--config', required=True, help='a recipe: the path of its file, or the name of one of ours'
  )
  parser.add_argument(
    '--workdir', required=True, help='directory of checkpoints, metrics and results'
  )
  parser.add_argument(
    '--deterministic', action=argparse.BooleanOptionalAction, default=False,
    help='the same bits every time on GPUs too, which can be slower',
  )
  devices.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
  """Trains and returns 0; see `train`."""
  train(args)
  return 0


def train(args: argparse.Namespace) -> dict[str, Any]:
  """Trains as the arguments say; returns the metrics of the last evaluation.

  Raises:
    UserError: a mistake in the arguments, the config or the data.
    Interrupted: a signal was received and the training is saved.
  """
  start_log()
  config = load_config(args.config, args.overrides)
  check_packages(config)
  from ecanet_jax.runtime.determinism import compute_deterministically
  from ecanet_jax.training.trainer import train_and_evaluate

  if args.deterministic:
    compute_deterministically()
  devices.start(args)
  return train_and_evaluate(config, args.workdir, keys_of(args.overrides))
