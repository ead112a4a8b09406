"""Statistics of attention on values with known answers."""

import numpy as np
import pytest

from ecanet_jax.analysis import statistics

CLASSES, IMAGES, CHANNELS = 5, 200, 48


def moments_of(values, labels, batch=64):
  moments = statistics.Moments.zero(CLASSES, values.shape[1])
  for first in range(0, len(values), batch):
    moments.add(values[first : first + batch], labels[first : first + batch])
  return moments


@pytest.fixture
def random():
  return np.random.default_rng(0)


@pytest.fixture
def labels(random):
  return random.integers(0, CLASSES, IMAGES)


@pytest.mark.parametrize('batch', [1, 7, 64])
def test_sums_of_batches_are_those_of_all(random, labels, batch):
  values = random.random((IMAGES, CHANNELS))
  moments = moments_of(values, labels, batch)
  for label in range(CLASSES):
    of_class = values[labels == label]
    np.testing.assert_allclose(moments.mean()[label], of_class.mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.deviation()[label], of_class.std(0), rtol=1e-12)
  expected = np.mean([values[labels == label].mean(0) for label in range(CLASSES)], 0)
  np.testing.assert_allclose(moments.mean_of_classes(), expected, rtol=1e-12)
  assert moments.count.sum() == IMAGES


def test_weights_of_the_class_alone(random, labels):
  values = random.random(CHANNELS) + random.random((CLASSES, CHANNELS))[labels]
  found = statistics.shares(moments_of(values, labels))
  assert found.eta_squared == pytest.approx(1, abs=1e-9)
  assert found.omega_squared == pytest.approx(1, abs=1e-9)
  assert 0 < found.static < 1


def test_noise_has_no_class_share(random, labels):
  values = np.stack([
    dataclass_of(statistics.shares(moments_of(random.random((IMAGES, CHANNELS)), labels)))
    for _ in range(30)
  ])
  mean, error = values.mean(0), values.std(0, ddof=1) / np.sqrt(30)
  assert abs(mean[1]) < 3 * error[1]
  assert abs(mean[0] - (CLASSES - 1) / (IMAGES - 1)) < 3 * error[0]


def dataclass_of(found):
  return np.array([found.eta_squared, found.omega_squared, found.static])


def test_constant_gates_are_static(labels):
  values = np.tile(np.linspace(0, 1, CHANNELS), (IMAGES, 1))
  found = statistics.shares(moments_of(values, labels))
  assert found.static == pytest.approx(1, abs=1e-12)


def test_against_the_definition(random, labels):
  values = random.random((IMAGES, CHANNELS)) + random.random((CLASSES, CHANNELS))[labels]
  mean = values.mean(0)
  means = np.stack([values[labels == label].mean(0) for label in range(CLASSES)])
  between = ((means[labels] - mean)**2).sum()
  total = ((values - mean)**2).sum()
  within = (total - between) / (IMAGES - CLASSES)
  found = statistics.shares(moments_of(values, labels))
  assert found.eta_squared == pytest.approx(between / total, rel=1e-9)
  assert found.omega_squared == pytest.approx(
    (between - (CLASSES - 1) * within) / (total + within), rel=1e-9)
  assert found.static == pytest.approx(
    IMAGES * CHANNELS * mean.var() / ((values - values.mean())**2).sum(), rel=1e-9)


def test_saturation():
  found = statistics.Saturation()
  found.add(np.array([[0.01, 0.04, 0.06], [0.495, 0.5, 0.96]]))
  assert found.shares() == {'low': 2 / 6, 'high': 1 / 6, 'half': 2 / 6}


def test_a_sine_has_its_period(random):
  curve = np.sin(2 * np.pi * np.arange(96) / 8)
  found = statistics.periodicity(curve)
  assert found.found and found.lag == 8 and found.peak == pytest.approx(88 / 96)
  shuffled = [statistics.periodicity(random.permutation(curve)) for _ in range(20)]
  assert sum(each.found for each in shuffled) <= 4  # 5 % of 20 are expected
  assert max(each.peak for each in shuffled) < 0.6


def test_a_constant_curve_has_none():
  assert not statistics.periodicity(np.ones(40)).found
