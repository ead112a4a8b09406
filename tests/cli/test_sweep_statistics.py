"""The statistics of a sweep against scipy, and against what they promise on synthetic results."""

import numpy as np
import pytest
from scipy import stats

from ecanet_jax.cli.sweep import statistics

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize('n', [2, 3, 5, 12])
def test_the_paired_comparison_is_scipys(n):
  reference = RANDOM.normal(0.9, 0.01, n)
  values = reference + RANDOM.normal(0.004, 0.003, n)
  ours = statistics.compare(values, reference)
  theirs = stats.ttest_rel(values, reference)
  assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9)
  low, high = theirs.confidence_interval(0.95)
  assert ours.interval == pytest.approx((low, high), rel=1e-9)
  assert (ours.n, ours.mean) == (n, pytest.approx((values - reference).mean()))
  assert ours.std == pytest.approx((values - reference).std(ddof=1))


def test_the_interval_of_a_mean_is_scipys():
  values = RANDOM.normal(0, 1, 5)
  low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
  reach = statistics.mean_interval(values)
  assert (values.mean() - reach, values.mean() + reach) == pytest.approx((low, high), rel=1e-9)
  assert statistics.mean_interval([0.5]) is None


def test_the_bootstrap_interval_is_scipys():
  values = RANDOM.normal(0, 1, 20)
  theirs = stats.bootstrap((values,), np.mean, method='percentile', n_resamples=10_000, rng=1)
  assert statistics.bootstrap(values) == pytest.approx(theirs.confidence_interval, abs=0.02)
  assert statistics.bootstrap(values) == statistics.bootstrap(values)


@pytest.mark.parametrize('n', [2, 3, 5, 10])
def test_the_smallest_difference_is_seen_in_four_of_five_sweeps(n):
  size = statistics.smallest_difference(2.0, n)
  pairs = np.random.default_rng(n).normal(size, 2.0, (20_000, n))
  seen = stats.ttest_1samp(pairs, 0, axis=1).pvalue < 0.05
  assert seen.mean() == pytest.approx(0.8, abs=0.01)


def test_equal_variants_are_told_apart_in_one_of_twenty_sweeps():
  random = np.random.default_rng(5)
  seeds, kinds = random.normal(0.9, 0.02, (1000, 1, 5)), random.normal(0, 0.004, (1000, 2, 5))
  first, second = np.moveaxis(seeds + kinds, 1, 0)  # a seed moves both
  found = [statistics.compare(one, other).p < 0.05 for one, other in zip(first, second)]
  assert np.mean(found) == pytest.approx(0.05, abs=0.02)


def test_values_that_hardly_vary():
  same = statistics.compare([0.9, 0.8], [0.9, 0.8])
  assert (same.p, same.interval, same.smallest) == (1.0, (0.0, 0.0), 0.0)
  constant = statistics.compare([0.91, 0.81], [0.9, 0.8])
  assert constant.p == 0 and constant.mean == pytest.approx(0.01)
  # Of 100 images one more is right, twice: that may be chance.
  rounded = statistics.compare([0.91, 0.81], [0.9, 0.8], resolution=0.01)
  assert rounded.p > 0.05 and rounded.interval[0] < 0 < rounded.interval[1]


def test_holms_correction():
  p = [0.01, 0.04, 0.03, 0.005]
  assert statistics.holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
  assert statistics.holm([0.6, 0.9]) == [1.0, 1.0] and statistics.holm([]) == []


def test_verdicts():
  assert statistics.verdict(0.1, 0.2) == 'no difference seen'
  assert (statistics.verdict(0.1, 0.01), statistics.verdict(-0.1, 0.01)) == ('better', 'worse')
