"""doctor --train: twenty steps of a training, what looks wrong in them, and a learning rate."""

import dataclasses
import math
import types

import numpy as np
import pytest

from configs import smoke
from ecanet_jax import cli
from ecanet_jax.cli.doctor import findings, first_steps, learning_rate
from ecanet_jax.runtime.errors import UserError


@pytest.fixture
def seen():
  """What is needed of a trainer, and six steps of a sound training."""
  config = smoke.get_config()
  view = first_steps.View(
    {'stem': 0.05, 'stage 1': 0.03, 'head': 0.3}, {'stem': 1.0, 'stage 1': 1.0, 'head': 1.0},
    {'bfloat16': 0.0, 'float16': 0.01}, 0.1, {'blocks_0_0': 0.0, 'blocks_1_0': 0.25},
  )
  trainer = types.SimpleNamespace(
    config=config, model=types.SimpleNamespace(num_classes=10), teacher=None,
    mesh=types.SimpleNamespace(devices=np.zeros(8)),
  )
  return trainer, first_steps.FirstSteps(
    [2.31, 2.2, 2.1, 2.0, 1.9, 1.8], [0.3] * 6, 0, [0.01] * 6, [9.0] + [0.1] * 5, (0.1, 1.2), 10,
    view, view,
  )


def levels(trainer, steps):
  return [(level, what) for level, what, _ in findings.look_for(trainer, steps)]


def test_a_sound_training(seen):
  found = dict(map(reversed, levels(*seen)))
  for text in (
    'loss at the start 2.310; equal probabilities give 2.303',
    'loss of the last five of 6 steps 2.000',
    'gradient norms at the start: stem 0.05, stage 1 0.03, head 0.3',
    'gradient values up to 0.1; 0 % are too small for bfloat16, 1 % for float16',
    'first step 9.0 s, with compilation',
    '72.7 images/s a device on 8; 9 % is waiting for data',
  ):
    assert text in found
  assert set(found.values()) == {'ok'}


@pytest.mark.slow
def test_a_real_training():
  config = smoke.get_config()
  config.data.image_size = 16
  trainer, state = first_steps.open_training(config)
  steps = first_steps.measure(trainer, state, steps=6)
  found = dict(map(reversed, levels(trainer, steps)))
  assert f'loss at the start {steps.losses[0]:.3f}; equal probabilities give 2.303' in found
  assert any('most in blocks_' in what for what in found)
  assert {level for what, level in found.items() if 'images/s' not in what} == {'ok'}
  assert list(steps.start.gradients) == ['stem', 'stage 1', 'stage 2', 'stage 3', 'head']
  assert len(steps.losses) == 6 and steps.labels == 10


@pytest.mark.parametrize(('changes', 'level', 'text'), [
  ({'losses': [7.0] * 6}, 'warning', 'loss at the start 7.000; equal probabilities give 2.303'),
  ({'losses': [0.5] * 6}, 'warning', 'loss at the start 0.500'),
  ({'losses': [2.3] + [9.0] * 5}, 'warning', 'loss of the last five of 6 steps 9.000: it rises'),
  ({'left_out': 2}, 'broken', '2 of 6 steps were not finite'),
  ({'images': (120.0, 60.0)}, 'warning', 'normalised images: mean 120.00'),
  ({'labels': 1}, 'warning', 'all images of the first batch are of one class'),
  ({'waited': [1.0] * 6, 'took': [1.0] * 6}, 'warning', '50 % is waiting for data'),
])
def test_what_looks_wrong(seen, changes, level, text):
  trainer, steps = seen
  found = levels(trainer, dataclasses.replace(steps, **changes))
  assert [each for each, what in found if text in what] == [level]


@pytest.mark.parametrize(('changes', 'level', 'text'), [
  ({'gradients': {'stem': 1e-4, 'head': 1.0}}, 'warning', 'gradient norms at the end: stem 0.0001'),
  ({'gradients': {'stem': 0.0, 'head': 1.0}}, 'warning', 'gradient norms at the end: stem 0, '),
  ({'gradients': {'stem': math.nan, 'head': 1.0}}, 'broken', 'gradient norms at the end: stem nan'),
  ({'stuck': {'blocks_0_0': 0.0, 'blocks_1_0': 0.75}}, 'warning', 'most in blocks_1_0: 75.0 %'),
])
def test_what_looks_wrong_inside(seen, changes, level, text):
  trainer, steps = seen
  end = dataclasses.replace(steps.end, **changes)
  found = levels(trainer, dataclasses.replace(steps, end=end))
  assert [each for each, what in found if text in what] == [level]


def test_gates_that_are_stuck():
  weights = np.full((4, 1, 1, 3), 0.5)
  weights[..., 0] = 0.001  # closed in all images
  weights[0, ..., 1] = 0.999  # open in one
  sown = {'blocks_0_0': {'attention': {'weights': (weights,)}}, 'stage_1': (np.zeros(3),)}
  assert {name: float(share) for name, share in first_steps._stuck(sown).items()} == {
    'blocks_0_0': pytest.approx(1 / 3)
  }


def test_the_suggested_rate_is_the_steepest_before_the_lowest_loss():
  rates = np.geomspace(1e-4, 10, 60)
  position = np.log10(rates)
  losses = 2 - 1 / (1 + np.exp(-6 * (position + 1))) + 5 * np.exp(4 * (position - 0.8))
  assert learning_rate.suggest(rates, losses) == pytest.approx(0.1, rel=0.3)
  with pytest.raises(UserError, match='the loss of 3 steps never falls'):
    learning_rate.suggest(rates[:3], [1.0, 2.0, 3.0])


def test_the_command(monkeypatch, capsys, tmp_path):
  picture = tmp_path / 'lr.png'
  small = ['--config.data.image_size=16', '--config.schedule.warmup_epochs=0']
  result = learning_rate.RangeTest([0.1, 0.2, 0.4], [3.0, 2.0, 1.5], 0.2)
  monkeypatch.setattr(learning_rate, 'find', lambda trainer, state: result)
  assert cli.main(['doctor', '--train', 'smoke', *small, f'--find_lr={picture}']) == 0
  assert 'suggestion: --config.schedule.lr=0.2 (now 0.4, both per 256' in capsys.readouterr().out
  assert picture.read_bytes().startswith(b'\x89PNG')
  for argument in ('--find_lr', '--config.epochs=2'):
    assert cli.main(['doctor', argument]) == 2
    assert 'needs a recipe: doctor --train CONFIG' in capsys.readouterr().err


@pytest.mark.slow
def test_a_rate_is_found(tmp_path):
  config = smoke.get_config()
  config.data.image_size = 16
  trainer, state = first_steps.open_training(config)
  found = learning_rate.find(trainer, state, steps=60)
  assert 0.01 < found.suggestion < 10 and len(found.rates) == len(found.losses) <= 60
