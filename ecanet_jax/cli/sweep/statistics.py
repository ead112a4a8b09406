"""What the seeds of a sweep can tell: intervals of a mean, and differences paired by seed.

Two runs with the same seed see the same images in the same order, so the difference of the two is
less noisy than either. Student's t decides whether a difference is seen: with five seeds a
bootstrap interval is too narrow (it holds the true mean in about 80 % of cases, not in 95 %).
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy import optimize, stats

LEVEL = 0.95  # of the intervals
POWER = 0.8  # probability with which the smallest difference is seen
RESAMPLES = 10_000


@dataclasses.dataclass(frozen=True)
class Comparison:
  """A variant minus the reference, over the n seeds that both have finished.

  Attributes:
    n: pairs.
    mean: of the differences.
    std: sample standard deviation (n - 1) of the differences.
    interval: Student's interval of the mean, at `LEVEL`.
    bootstrap: percentile bootstrap interval of the mean, at `LEVEL`.
    p: two-sided, of the paired t-test.
    smallest: difference that the test sees with probability `POWER`.
  """

  n: int
  mean: float
  std: float
  interval: tuple[float, float]
  bootstrap: tuple[float, float]
  p: float
  smallest: float


def compare(
  values: Sequence[float], reference: Sequence[float], resolution: float = 0.0
) -> Comparison:
  """Compares paired values, at least two of each.

  Args:
    values: of the variant, one per seed.
    reference: of the same seeds.
    resolution: step of a value, such as 1 / images for an accuracy. Rounding to it is the least
      noise that a difference can have, even if all pairs differ by the same.
  """
  differences = np.subtract(values, reference)
  n, mean = len(differences), float(differences.mean())
  # A rounding error is uniform, with variance step^2 / 12; a difference has two of them.
  std = max(float(differences.std(ddof=1)), resolution / math.sqrt(6))
  if std < 1e-12:  # equal values, or the rounding of a float
    nothing = abs(mean) < 1e-12
    return Comparison(n, mean, 0.0, (mean, mean), (mean, mean), 1.0 if nothing else 0.0, 0.0)
  error, freedom = std / math.sqrt(n), n - 1
  reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
  return Comparison(
    n, mean, std, (mean - reach, mean + reach), bootstrap(differences),
    float(2 * stats.t.sf(abs(mean) / error, freedom)), smallest_difference(std, n),
  )


def mean_interval(values: Sequence[float]) -> float | None:
  """Half of Student's interval of the mean, at `LEVEL`; None for one value."""
  if len(values) < 2:
    return None
  freedom = len(values) - 1
  return float(stats.t.ppf((1 + LEVEL) / 2, freedom) * stats.sem(values))


def bootstrap(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
  """The percentile bootstrap interval of the mean, at `LEVEL` (Efron 1979)."""
  values = np.asarray(values, float)
  chosen = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
  low, high = np.quantile(values[chosen].mean(1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
  return float(low), float(high)


def smallest_difference(std: float, n: int) -> float:
  """The true difference that a paired t-test of n pairs sees with probability `POWER`.

  Args:
    std: standard deviation of the differences.
    n: pairs, at least 2.
  """
  freedom = n - 1
  critical = stats.t.ppf((1 + LEVEL) / 2, freedom)

  def missing(shift: float) -> float:
    # The other tail, a difference seen with the wrong sign, is too small to count.
    return stats.nct.sf(critical, freedom, shift) - POWER

  return float(optimize.brentq(missing, 0, 3 * critical + 3, xtol=1e-6)) * std / math.sqrt(n)


def holm(p_values: Sequence[float]) -> list[float]:
  """p-values corrected for their number (Holm 1979), in the given order."""
  corrected, highest = [0.0] * len(p_values), 0.0
  for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
    highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
    corrected[index] = highest
  return corrected


def verdict(mean: float, p: float) -> str:
  """'better', 'worse' or 'no difference seen' for a corrected p; more is better."""
  if p > 1 - LEVEL:
    return 'no difference seen'
  return 'better' if mean > 0 else 'worse'
