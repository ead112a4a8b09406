"""The devices and processes that train and eval compute with."""

import argparse
import faulthandler

from ecanet_jax.cli.arguments import Parser


def add_arguments(parser: Parser) -> None:
  """Adds the flags of a training of several processes."""
  parser.add_argument(
    '--coordinator', default='', metavar='HOST:PORT',
    help='of the first process; not needed on a Cloud TPU pod',
  )
  parser.add_argument(
    '--num_processes', type=int, default=1, metavar='N', help='with --coordinator (default: 1)'
  )
  parser.add_argument(
    '--process_id', type=int, default=0, metavar='N', help='with --coordinator; from 0'
  )


def start(args: argparse.Namespace) -> None:
  """Connects the processes and checks the devices.

  The processes of one training keep their compiled programs in `args.workdir`.

  Raises:
    UserError: flags that do not fit together, or an accelerator that JAX cannot use.
  """
  from ecanet_jax.runtime import distributed
  from ecanet_jax.runtime.accelerators import check_devices
  from ecanet_jax.runtime.compile_cache import keep_compiled_programs
  from ecanet_jax.runtime.memory import keep_freed_memory

  faulthandler.enable()
  keep_freed_memory()
  distributed.start_processes(args.coordinator, args.num_processes, args.process_id)
  keep_compiled_programs(args.workdir if distributed.is_one_of_several() else '')
  check_devices()
