"""Learning rates against values worked out by hand from the sources."""

import numpy as np
import pytest
import torch
from timm import scheduler

from configs import eca_b0
from ecanet_jax.config import schema
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.training.schedule import make_schedule, peak_learning_rate, training_steps


def rates(config, steps, per_epoch=10.0, total=3500):
  schedule = make_schedule(config, per_epoch, total)
  return [float(schedule(np.int32(step))) for step in steps]


def test_tensorflow_efficientnet():
  config = schema.get_config()
  config.batch_size = 4096
  # 0.016 * 4096 / 256 = 0.256; 50 steps of warm-up; x0.97 every 24 steps, counted from step 0.
  assert peak_learning_rate(config) == pytest.approx(0.256)
  expected = [0.0, 0.128, 0.256 * 0.97**2, 0.256 * 0.97**2, 0.256 * 0.97**3, 0.256 * 0.97**41]
  np.testing.assert_allclose(rates(config, [0, 25, 50, 71, 72, 1007]), expected, rtol=1e-5)


def test_cosine():
  config = schema.get_config()
  config.batch_size, config.schedule.name, config.schedule.lr = 256, 'cosine', 0.1
  config.schedule.final_fraction = 0.1
  values = rates(config, [49, 50, 1775, 3500])
  # Half of the cosine lies halfway from the end of the warm-up (50) to the last step (3500).
  np.testing.assert_allclose(values, [0.098, 0.1, 0.055, 0.01], rtol=1e-5)


def test_steps():
  config = schema.get_config()
  config.batch_size, config.schedule.name, config.schedule.lr = 256, 'step', 0.1
  config.schedule.warmup_epochs, config.schedule.decay_rate = 0.0, 0.1
  values = rates(config, [0, 299, 301, 601, 901])
  np.testing.assert_allclose(values, [0.1, 0.1, 0.01, 0.001, 0.0001], rtol=1e-5)


def test_smooth_exponential_and_constant():
  config = schema.get_config()
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
  ('warmup_epochs', 400.0, 'schedule.warmup_epochs=400.0 must be at most the 350 epochs'),
])
def test_bad_input(key, value, text):
  config = schema.get_config()
  config.schedule[key] = value
  with pytest.raises(UserError, match=text.replace('.', r'\.')):
    make_schedule(config, 10.0, 3500)


def timms(scheduler, **options):
  optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.048)
  made = scheduler(
    optimizer, warmup_t=5, warmup_lr_init=1e-6, warmup_prefix=False, **options
  )
  return [made._get_lr(epoch)[0] for epoch in range(60)]


@pytest.mark.parametrize('name', ['exponential', 'cosine'])
def test_between_epochs_it_is_timms(name):
  config = schema.get_config()
  config.batch_size, config.schedule.warmup_from = 768, 1e-6
  config.schedule.name, config.schedule.per_epoch = name, True
  config.schedule.from_warmup, config.schedule.final_fraction = False, 1e-5 / 0.048
  theirs = {
    'exponential': lambda: timms(scheduler.StepLRScheduler, decay_t=2.4, decay_rate=0.97),
    'cosine': lambda: timms(scheduler.CosineLRScheduler, t_initial=60, lr_min=1e-5),
  }[name]()
  for offset in (1, 5, 9):  # the first, a middle, and the last step of an epoch
    steps = [10 * epoch + offset for epoch in range(60)]
    np.testing.assert_allclose(rates(config, steps, total=600), theirs, rtol=1e-5, atol=1e-8)


def test_warm_up_from_a_rate():
  config = schema.get_config()
  config.batch_size, config.schedule.warmup_from = 256, 0.006
  np.testing.assert_allclose(rates(config, [0, 25, 50]), [0.006, 0.011, 0.016 * 0.97**2], rtol=1e-5)


def test_epochs_or_steps():
  config = schema.get_config()
  assert training_steps(config, 10.06) == 3521
  config.epochs, config.steps = 0.0, 77
  assert training_steps(config, 10.06) == 77


@pytest.mark.parametrize(('epochs', 'steps', 'text'), [
  (350.0, 1000, 'epochs=350.0 and steps=1000 are both given; give one: --config.epochs=0 --config'),
  (0.0, None, 'epochs=0.0 must be above 0, or give steps in its place'),
  (-1.0, None, 'epochs=-1.0 must be above 0'),
])
def test_how_long_is_said_once(epochs, steps, text):
  config = schema.get_config()
  config.epochs, config.steps = epochs, steps
  with pytest.raises(UserError) as error:
    training_steps(config, 10.0)
  assert text in str(error.value) and '\n' not in str(error.value)
