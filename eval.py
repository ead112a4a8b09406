"""Evaluates weights: python eval.py --config=configs/eca_b0.py --workdir=DIR

The weights are those of a training (--workdir), or converted weights, a timm folder or a file
(--weights_file; a file also needs --config.model.name=NAME). The config gives the data set and the
batch size. The weights give the preprocessing of the images; --preprocessing or keys such as
--config.data.mean=... change it. The result is printed as a line to read and as JSON. The report
has accuracy by class, confusion and calibration.
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
  '--config.model.name, a timm folder, or the output of `convert`.',
)
CHECKPOINT = flags.DEFINE_string('checkpoint', 'last', 'Step of the training: last | best | N.')
KIND = flags.DEFINE_enum(
  'kind', 'ema', ['ema', 'raw'], 'The averaged weights, where there are any, or the raw ones.'
)
DIALECT = flags.DEFINE_string('dialect', 'timm', 'The code whose names a --weights_file has.')
PREPROCESSING = flags.DEFINE_string(
  'preprocessing', 'weights',
  'weights (what is stored with them; for a file, the default of its network) | config | '
  'tf | lite | timm | torchvision | keras | inception.',
)
TTA = flags.DEFINE_string(
  'tta', 'none',
  'Test-time augmentation: none | flip | five (crops) | ten; the logits are averaged.',
)
JSON = flags.DEFINE_string(
  'json', '',
  'Report as a JSON file, with pictures beside it. Default with --workdir: a file in '
  'WORKDIR/evaluation.',
)
COORDINATOR = flags.DEFINE_string('coordinator', '', 'As for train.py.')
NUM_PROCESSES = flags.DEFINE_integer('num_processes', 1, 'With --coordinator.')
PROCESS_ID = flags.DEFINE_integer('process_id', 0, 'With --coordinator; from 0.')
flags.mark_flags_as_required(['config'])

for old, new in {'preset': 'preprocessing', 'weights': 'kind'}.items():
  flags.DEFINE_string(old, None, f'Not a flag; write --{new}.')
  flags.register_validator(old, lambda value: value is None, f'write --{new} instead.')


def main() -> None:
  keep_freed_memory()
  from ecanet_jax.evaluation.evaluate_weights import evaluate_weights
  from ecanet_jax.runtime import distributed
  from ecanet_jax.runtime.accelerators import check_devices
  from ecanet_jax.runtime.compile_cache import keep_compiled_programs

  if bool(WORKDIR.value) == bool(WEIGHTS_FILE.value):
    raise UserError('give either --workdir=DIR or --weights_file=PATH.')
  distributed.start_processes(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
  shared = WORKDIR.value if distributed.is_one_of_several() else ''
  keep_compiled_programs(shared or '')
  check_devices()
  evaluate_weights(
    CONFIG.value, WORKDIR.value or WEIGHTS_FILE.value, checkpoint=CHECKPOINT.value,
    kind=KIND.value, dialect=DIALECT.value, preprocessing=PREPROCESSING.value,
    given=config_flags.get_override_values(flags.FLAGS['config']), tta=TTA.value,
    report=JSON.value or (WORKDIR.value and f'{WORKDIR.value}/evaluation'),
  )


if __name__ == '__main__':
  sys.exit(run_program(main, CONFIG))
