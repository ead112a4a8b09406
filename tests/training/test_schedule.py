"""Learning rates against values worked out by hand from the sources."""

import numpy as np
import pytest

from configs import base, digits, eca_b0, efficientnet_b0, smoke
from ecanet_jax.errors import UserError
from ecanet_jax.training.schedule import make_schedule, peak_learning_rate


def rates(config, steps, per_epoch=10.0, total=3500):
  schedule = make_schedule(config, per_epoch, total)
  return [float(schedule(np.int32(step))) for step in steps]


def test_tensorflow_efficientnet():
  config = base.get_config()
  config.batch_size = 4096
  # 0.016 * 4096 / 256 = 0.256; 50 steps of warm-up; x0.97 every 24 steps, counted from step 0.
  assert peak_learning_rate(config) == pytest.approx(0.256)
  expected = [0.0, 0.128, 0.256 * 0.97**2, 0.256 * 0.97**2, 0.256 * 0.97**3, 0.256 * 0.97**41]
  np.testing.assert_allclose(rates(config, [0, 25, 50, 71, 72, 1007]), expected, rtol=1e-5)


def test_cosine():
  config = base.get_config()
  config.batch_size, config.schedule.name, config.schedule.lr = 256, 'cosine', 0.1
  config.schedule.final_fraction = 0.1
  values = rates(config, [49, 50, 1775, 3500])
  # Half of the cosine lies halfway from the end of the warm-up (50) to the last step (3500).
  np.testing.assert_allclose(values, [0.098, 0.1, 0.055, 0.01], rtol=1e-5)


def test_steps():
  config = base.get_config()
  config.batch_size, config.schedule.name, config.schedule.lr = 256, 'step', 0.1
  config.schedule.warmup_epochs, config.schedule.decay_rate = 0.0, 0.1
  values = rates(config, [0, 299, 301, 601, 901])
  np.testing.assert_allclose(values, [0.1, 0.1, 0.01, 0.001, 0.0001], rtol=1e-5)


def test_smooth_exponential_and_constant():
  config = base.get_config()
  config.batch_size, config.schedule.staircase = 256, False
  np.testing.assert_allclose(rates(config, [60]), [0.016 * 0.97**2.5], rtol=1e-5)
  config.schedule.name = 'constant'
  np.testing.assert_allclose(rates(config, [25, 3000]), [0.008, 0.016], rtol=1e-5)


def test_peak_follows_the_batch_size():
  config = eca_b0.get_config()
  config.batch_size = 512
  assert peak_learning_rate(config) == pytest.approx(0.032)


@pytest.mark.parametrize(('key', 'value', 'text'), [
  ('name', 'cosin', "unknown schedule.name 'cosin'. Did you mean 'cosine'"),
  ('lr', 0.0, 'schedule.lr=0.0 must be above 0'),
  ('warmup_epochs', 400.0, 'schedule.warmup_epochs=400.0 must be'),
  ('decay_epochs', 0.0, 'schedule.decay_epochs=0.0 must be above 0'),
])
def test_bad_input(key, value, text):
  config = base.get_config()
  config.schedule[key] = value
  with pytest.raises(UserError, match=text.replace('.', r'\.')):
    make_schedule(config, 10.0, 3500)


@pytest.mark.parametrize('recipe', [digits, eca_b0, efficientnet_b0, smoke])
def test_recipes_are_locked_and_documented(recipe):
  config = recipe.get_config()
  assert config.is_locked
  assert f'--config=configs/{recipe.__name__.split(".")[-1]}.py' in recipe.__doc__
  make_schedule(config, 100.0, round(100 * config.epochs))
