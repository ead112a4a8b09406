"""Numbers of a config that no training can mean, before anything is read or written.

What depends on other keys is checked where it is used.
"""

import math

from ecanet_jax.config.difference import flat, plain
from ecanet_jax.runtime.errors import UserError

# The lowest and the highest value; tuples: of each of their values.
BOUNDS = {
  'seed': (0, 2**31 - 1),
  'epochs': (0, math.inf),
  'batch_size': (1, math.inf),
  'keep_checkpoints': (1, math.inf),
  'log_steps': (1, math.inf),
  'eval_epochs': (0, math.inf),
  'save_epochs': (0, math.inf),
  'watchdog_seconds': (0, math.inf),
  'bad_steps': (0, math.inf),
  'model.num_classes': (2, math.inf),
  'data.image_size': (1, math.inf),
  'data.area': (0, 1),
  'data.aspect': (0, math.inf),
  'data.crop_fraction': (0, 1),
  'data.std': (1e-6, math.inf),
  'data.shuffle_buffer': (1, math.inf),
  'data.decode_threads': (0, math.inf),
  'data.max_bad': (0, 1),
  'schedule.decay_rate': (0, 1),
  'schedule.final_fraction': (0, 1),
  'ema.decay': (0, 1),
}
ABOVE = ('data.area', 'data.aspect', 'data.crop_fraction')  # the lowest itself is none
LENGTHS = {'data.mean': 3, 'data.std': 3, 'data.area': 2, 'data.aspect': 2}


def check_bounds(config) -> None:
  """Raises UserError for a number outside its bounds, one not finite, or a tuple too short."""
  for key, length in LENGTHS.items():
    values = _value(config, key)
    if len(values) != length:
      raise UserError(f'{key}={tuple(values)} must be {length} numbers.')
  for key, value in flat(plain(config)).items():
    numbers = [one for one in (value if isinstance(value, list) else [value]) if is_number(one)]
    if not all(map(math.isfinite, numbers)):
      raise UserError(f'{key}={value} must be finite.')
  for key, (lowest, highest) in BOUNDS.items():
    value = _value(config, key)
    for one in value if isinstance(value, tuple | list) else (value,):
      if not lowest <= one <= highest or (key in ABOVE and one == lowest):
        above = f'above {lowest}' if key in ABOVE else f'at least {lowest}'
        rest = '' if highest == math.inf else f' and at most {highest}'
        raise UserError(f'{key}={value} must be {above}{rest}.')
  for key in ('data.area', 'data.aspect'):
    low, high = _value(config, key)
    if low > high:
      raise UserError(f'{key}={(low, high)}: the first must not be above the second.')


def is_number(value) -> bool:
  return isinstance(value, int | float)


def _value(config, key: str):
  for part in key.split('.'):
    config = config[part]
  return config
