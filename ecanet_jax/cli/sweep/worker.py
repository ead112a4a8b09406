"""One run of a sweep in a process of its own: the same as train.py, with DONE at the end.

Started as `python -m ecanet_jax.cli.sweep.worker` with train.py's arguments. It ends when its
standard input closes, so that no run outlives the sweep, even if the sweep is killed.
"""

import json
import os
import sys
import threading

from ecanet_jax.cli import train
from ecanet_jax.cli.arguments import Parser
from ecanet_jax.cli.exit_status import exit_status

DONE = 'done.json'  # the last evaluation and the device, written when the run is finished


def main() -> int:
  """Trains a run and writes DONE; returns 0."""
  threading.Thread(target=_end_with_sweep, daemon=True).start()
  parser = Parser('train.py')
  train.add_arguments(parser)
  args = train.parse(parser, sys.argv[1:])
  evaluation = train.train(args)
  import jax

  from ecanet_jax.runtime import paths

  device = f'{jax.device_count()} x {jax.devices()[0].device_kind}'
  done = json.dumps({**evaluation, 'device': device}, indent=2) + '\n'
  paths.write_whole(paths.to_path(args.workdir) / DONE, done)
  return 0


def _end_with_sweep() -> None:
  while os.read(0, 1):
    pass
  os._exit(1)


if __name__ == '__main__':
  sys.exit(exit_status(main, resumes=True))
