"""One run of a sweep in a process of its own: the same as train.py, with DONE at the end.

Started as `python -m ecanet_jax.cli.sweep.worker` with train.py's arguments. It ends when its
standard input closes, so that no run outlives the sweep, even if the sweep is killed.
"""

import json
import os
import sys
import threading

from absl import flags
from ml_collections import config_flags

from ecanet_jax.cli.program import run_program
from ecanet_jax.runtime.memory import keep_freed_memory

DONE = 'done.json'  # the last evaluation and the device, written when the run is finished


def main() -> None:
  threading.Thread(target=_end_with_sweep, daemon=True).start()
  keep_freed_memory()
  import jax

  from ecanet_jax.runtime import paths
  from ecanet_jax.runtime.compile_cache import keep_compiled_programs
  from ecanet_jax.training.trainer import train_and_evaluate

  keep_compiled_programs()
  workdir = paths.to_path(flags.FLAGS.workdir)
  evaluation = train_and_evaluate(flags.FLAGS.config, workdir)
  device = f'{jax.device_count()} x {jax.devices()[0].device_kind}'
  done = json.dumps({**evaluation, 'device': device}, indent=2) + '\n'
  paths.write_whole(workdir / DONE, done)


def _end_with_sweep() -> None:
  while os.read(0, 1):
    pass
  os._exit(1)


if __name__ == '__main__':
  CONFIG = config_flags.DEFINE_config_file('config', None, 'Recipe.', lock_config=True)
  flags.DEFINE_string('workdir', None, 'Directory of the run.')
  sys.exit(run_program(main, CONFIG))
