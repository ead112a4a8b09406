"""Evaluates weights: python eval.py --config=configs/eca_b0.py --workdir=DIR

The weights are a training's checkpoint (--workdir), or converted weights, a timm folder or a file
(--weights_file; a file also needs --config.model.name=NAME). The data set and the batch size are
the config's; the preprocessing of the images is what travels with the weights, but for keys that
the command line sets (--config.data.mean=...) and with another --preset. Prints a line to read and
the same as JSON; accuracy per class, confusion and calibration go to files.
"""

import sys

from absl import flags
from ml_collections import config_flags

from ecanet_jax.cli.program import run_program
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.memory import keep_freed_memory

CONFIG = config_flags.DEFINE_config_file('config', None, 'Recipe.', lock_config=True)
WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the training.')
WEIGHTS_FILE = flags.DEFINE_string(
  'weights_file', None,
  'Instead of --workdir: a .safetensors, .npz or PyTorch file of the network '
  '--config.model.name, a timm folder, or what `convert` wrote.',
)
DIALECT = flags.DEFINE_string('dialect', 'timm', 'Whose names a --weights_file has.')
PRESET = flags.DEFINE_string(
  'preset', 'weights',
  "Preprocessing: weights (what travels with them; of a file, its network's preset), config, or "
  'tf | lite | timm | torchvision | keras | inception.',
)
TTA = flags.DEFINE_string(
  'tta', 'none',
  'Test-time augmentation: none | flip | five (crops) | ten; the mean of the logits.',
)
JSON = flags.DEFINE_string(
  'json', '', 'File for all figures, pictures beside it; with --workdir WORKDIR/evaluation/....',
)
CHECKPOINT = flags.DEFINE_string('checkpoint', 'last', 'last | best | a step.')
WEIGHTS = flags.DEFINE_enum('weights', 'ema', ['ema', 'raw'], 'Averaged, where there are any.')
COORDINATOR = flags.DEFINE_string('coordinator', '', 'As for train.py.')
NUM_PROCESSES = flags.DEFINE_integer('num_processes', 1, 'With --coordinator.')
PROCESS_ID = flags.DEFINE_integer('process_id', 0, 'With --coordinator; from 0.')
flags.mark_flags_as_required(['config'])


def main() -> None:
  keep_freed_memory()
  from ecanet_jax.evaluation.evaluate_weights import evaluate_weights
  from ecanet_jax.runtime import distributed
  from ecanet_jax.runtime.compile_cache import keep_compiled_programs

  if bool(WORKDIR.value) == bool(WEIGHTS_FILE.value):
    raise UserError('give either --workdir=DIR or --weights_file=PATH.')
  keep_compiled_programs()
  distributed.start_processes(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
  evaluate_weights(
    CONFIG.value, WORKDIR.value or WEIGHTS_FILE.value, checkpoint=CHECKPOINT.value,
    weights=WEIGHTS.value, dialect=DIALECT.value, preset=PRESET.value,
    given=config_flags.get_override_values(flags.FLAGS['config']), tta=TTA.value,
    report=JSON.value or (WORKDIR.value and f'{WORKDIR.value}/evaluation'),
  )


if __name__ == '__main__':
  sys.exit(run_program(main, CONFIG))
