"""Trains a network: python train.py --config=configs/eca_b0.py --workdir=DIR [--config.KEY=VALUE]

The same command again resumes from the newest checkpoint in DIR. A config is Python code that this
program runs.
"""

import sys

from absl import flags
from ml_collections import config_flags

from ecanet_jax.cli.program import run_program
from ecanet_jax.runtime.memory import keep_freed_memory

CONFIG = config_flags.DEFINE_config_file('config', None, 'Recipe.', lock_config=True)
WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of checkpoints, metrics and results.')
COORDINATOR = flags.DEFINE_string(
  'coordinator', '', "'host:port' of the first process; not needed on a Cloud TPU pod."
)
NUM_PROCESSES = flags.DEFINE_integer('num_processes', 1, 'With --coordinator.')
PROCESS_ID = flags.DEFINE_integer('process_id', 0, 'With --coordinator; from 0.')
DETERMINISTIC = flags.DEFINE_boolean(
  'deterministic', False, 'The same bits every time on GPUs too, which can be slower.'
)
flags.mark_flags_as_required(['config', 'workdir'])


def main() -> None:
  keep_freed_memory()
  from ecanet_jax.runtime import distributed
  from ecanet_jax.runtime.accelerators import check_devices
  from ecanet_jax.runtime.compile_cache import keep_compiled_programs
  from ecanet_jax.runtime.determinism import compute_deterministically
  from ecanet_jax.training.trainer import train_and_evaluate

  if DETERMINISTIC.value:
    compute_deterministically()
  distributed.start_processes(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
  keep_compiled_programs(WORKDIR.value if distributed.is_one_of_several() else '')
  check_devices()
  train_and_evaluate(CONFIG.value, WORKDIR.value)


if __name__ == '__main__':
  sys.exit(run_program(main, CONFIG))
