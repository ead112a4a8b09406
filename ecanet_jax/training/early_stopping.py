"""The evaluations of a training so far: the last, the best, and whether more of it is of use."""

import dataclasses
from typing import Any


@dataclasses.dataclass
class Results:
  """What a checkpoint's meta keeps, so that a resumed training decides as it would have.

  Attributes:
    last: metrics with their `step`; {} before the first evaluation.
    best: the same, of the first evaluation with the highest top-1.
    stale: evaluations in a row since then.
  """

  last: dict[str, Any] = dataclasses.field(default_factory=dict)
  best: dict[str, Any] = dataclasses.field(default_factory=dict)
  stale: int = 0

  def add(self, step: int, metrics: dict[str, float]) -> None:
    """Takes in an evaluation."""
    self.last = {'step': step, **metrics}
    if metrics['top1'] > self.best.get('top1', -1.0):
      self.best, self.stale = self.last, 0
    else:
      self.stale += 1

  def enough(self, patience: int) -> str:
    """Why the training ends early, '' if it goes on; patience as `config.early_stop`."""
    if not patience or self.stale < patience:
      return ''
    return (
      f'stopped early: {self.stale} evaluations without a better top-1 than '
      f'{100 * self.best["top1"]:.2f} % of step {self.best["step"]}'
    )

  @classmethod
  def of(cls, meta: dict[str, Any]) -> 'Results':
    """Those of a checkpoint's meta."""
    return cls(meta['last'], meta['best'], meta.get('stale', 0))

  def meta(self) -> dict[str, Any]:
    """What a checkpoint's meta keeps."""
    return dataclasses.asdict(self)
