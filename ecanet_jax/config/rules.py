"""Rules for config values: a test, and the words that describe it."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Rule:
  """A rule for a value, or for each number of a tuple. Numbers must be finite.

  Attributes:
    limits: pairs of the words that follow 'must be' and a test of a number.
    count: length of a tuple; 0 = any.
    ordered: a tuple must be in ascending order.
    infinite: numbers may be infinite.
  """

  limits: tuple[tuple[str, Callable[[float], bool]], ...] = ()
  count: int = 0
  ordered: bool = False
  infinite: bool = False

  def at_most(self, highest: float) -> 'Rule':
    return self._with(f'at most {highest}', lambda value: value <= highest)

  def below(self, bound: float) -> 'Rule':
    return self._with(f'below {bound}', lambda value: value < bound)

  def or_infinite(self) -> 'Rule':
    return dataclasses.replace(self, infinite=True)

  def fault(self, value: Any) -> str:
    """The rule that a value breaks, such as 'must be at least 1'; '' if it breaks none."""
    values = value if isinstance(value, tuple | list) else (value,)
    if self.count and len(values) != self.count:
      return f'must be {self.count} numbers'
    found = [one for one in values if isinstance(one, int | float)]
    if any(math.isnan(one) or (math.isinf(one) and not self.infinite) for one in found):
      return 'must be finite'
    if not all(holds(one) for one in found for _, holds in self.limits):
      return 'must be ' + ' and '.join(words for words, _ in self.limits)
    if self.ordered and sorted(found) != found:
      return 'must not fall: write the smallest number first'
    return ''

  def _with(self, words: str, holds: Callable[[float], bool]) -> 'Rule':
    return dataclasses.replace(self, limits=(*self.limits, (words, holds)))


def at_least(lowest: float) -> Rule:
  return Rule()._with(f'at least {lowest}', lambda value: value >= lowest)


def above(bound: float) -> Rule:
  return Rule()._with(f'above {bound}', lambda value: value > bound)


def numbers(count: int, each: Rule = Rule()) -> Rule:
  """A tuple of `count` numbers that each follow a rule."""
  return dataclasses.replace(each, count=count)


def interval(each: Rule) -> Rule:
  """A tuple (smallest, largest)."""
  return dataclasses.replace(each, count=2, ordered=True)
