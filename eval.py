"""Evaluates a training's checkpoint: python eval.py --config=configs/eca_b0.py --workdir=DIR

The network is the checkpoint's; the data set and the batch size are the config's. Prints a line to
read and the same as JSON.
"""

import sys

from absl import flags
from ml_collections import config_flags

from ecanet_jax.allocation import keep_freed_memory
from ecanet_jax.cli.program import run_program

CONFIG = config_flags.DEFINE_config_file('config', None, 'Recipe.', lock_config=True)
WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the training.')
CHECKPOINT = flags.DEFINE_string('checkpoint', 'last', 'last | best | a step.')
WEIGHTS = flags.DEFINE_enum('weights', 'ema', ['ema', 'raw'], 'Averaged, where there are any.')
COORDINATOR = flags.DEFINE_string('coordinator', '', 'As for train.py.')
NUM_PROCESSES = flags.DEFINE_integer('num_processes', 1, 'With --coordinator.')
PROCESS_ID = flags.DEFINE_integer('process_id', 0, 'With --coordinator; from 0.')
flags.mark_flags_as_required(['config', 'workdir'])


def main() -> None:
  keep_freed_memory()
  from ecanet_jax.training import sharding
  from ecanet_jax.training.trainer import evaluate_checkpoint

  sharding.start_processes(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
  evaluate_checkpoint(CONFIG.value, WORKDIR.value, CHECKPOINT.value, WEIGHTS.value)


if __name__ == '__main__':
  sys.exit(run_program(main, CONFIG))
