"""The keys, their rules, and keys that have moved."""

import pytest

from ecanet_jax import config
from ecanet_jax.cli.config import load_config
from ecanet_jax.config import schema
from ecanet_jax.runtime.errors import UserError

WRONG = {
  'seed': (-1, 'seed=-1 must be at least 0 and at most 2147483647.'),
  'steps': (0, 'steps=0 must be at least 1.'),
  'batch_size': (0, 'batch_size=0 must be at least 1.'),
  'data.area': ((0.9, 0.1), 'data.area=(0.9, 0.1) must not fall: write the smallest number first.'),
  'data.aspect': ((1.0,), 'data.aspect=(1.0,) must be 2 numbers.'),
  'data.std': ((0.0, 1.0, 1.0), 'data.std=(0.0, 1.0, 1.0) must be at least 1e-06.'),
  'data.crop_fraction': (0.0, 'data.crop_fraction=0.0 must be above 0 and at most 1.'),
  'augment.color_jitter': (
    (0.1, float('nan'), 0.0, 0.0),
    'augment.color_jitter=(0.1, nan, 0.0, 0.0) must be finite.',
  ),
  'loss.label_smoothing': (1.0, 'loss.label_smoothing=1.0 must be at least 0 and below 1.'),
  'optimizer.weight_decay': (-1.0, 'optimizer.weight_decay=-1.0 must be at least 0.'),
  'optimizer.clip_norm': (-1.0, 'optimizer.clip_norm=-1.0 must be at least 0.'),
  'optimizer.agc': (-1.0, 'optimizer.agc=-1.0 must be at least 0.'),
  'optimizer.momentum': (1.0, 'optimizer.momentum=1.0 must be at least 0 and below 1.'),
  'optimizer.layer_decay': (0.0, 'optimizer.layer_decay=0.0 must be above 0 and at most 1.'),
  'optimizer.sam_rho': (-0.1, 'optimizer.sam_rho=-0.1 must be at least 0.'),
  'distill.temperature': (0.0, 'distill.temperature=0.0 must be above 0.'),
  'distill.share': (1.5, 'distill.share=1.5 must be at least 0 and at most 1.'),
  'schedule.lr': (0.0, 'schedule.lr=0.0 must be above 0.'),
  'schedule.warmup_from': (-0.1, 'schedule.warmup_from=-0.1 must be at least 0.'),
  'schedule.decay_epochs': (0.0, 'schedule.decay_epochs=0.0 must be above 0.'),
  'ema.decay': (float('inf'), 'ema.decay=inf must be finite.'),
}


@pytest.mark.parametrize('key', WRONG)
def test_rules(key):
  value, text = WRONG[key]
  wrong = config.get_config()
  wrong.update_from_flattened_dict({key: value})
  with pytest.raises(UserError) as error:
    config.check(wrong)
  assert str(error.value) == text


def test_the_defaults_keep_their_rules():
  config.check(config.get_config())


def test_a_number_that_may_be_infinite():
  given = config.get_config()
  given.augment.magnitude_std = float('inf')
  config.check(given)


def test_every_key_once_with_its_meaning():
  names = [key.name for key in schema.KEYS]
  assert len(set(names)) == len(names) and all(key.meaning for key in schema.KEYS)


def test_two_configs_share_nothing():
  one, other = config.get_config(), config.get_config()
  one.steps, one.model.preset = 5, 'tf'
  assert other.steps is None and other.model.preset is None


RECIPE = """
from ecanet_jax import config as schema
def get_config():
  config = schema.get_config()
  config.data.every = 3
  return config
"""


@pytest.mark.parametrize('place', ['command line', 'recipe'])
def test_a_key_that_has_moved(monkeypatch, tmp_path, place):
  monkeypatch.setitem(schema.MOVED_KEYS, 'data.every', 'log_steps')
  recipe = tmp_path / 'recipe.py'
  recipe.write_text(RECIPE)
  arguments = ('configs/smoke.py', ['--config.data.every=3'])
  with pytest.raises(UserError) as error:
    load_config(*(arguments if place == 'command line' else (str(recipe),)))
  assert str(error.value) == (
    "config key 'data.every' is 'log_steps' now (steps between lines of the log): write "
    '--config.log_steps=VALUE.'
  )


def test_moved_keys_are_gone_and_their_new_keys_exist():
  names = [key.name for key in schema.KEYS]
  assert not set(schema.MOVED_KEYS) & set(names)
  assert set(schema.MOVED_KEYS.values()) <= set(names)
