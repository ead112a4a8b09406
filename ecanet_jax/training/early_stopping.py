"""The evaluations of a training so far: the last, the best, and the decision to stop early."""

import dataclasses
from typing import Any

from ecanet_jax.runtime.errors import UserError
from ecanet_jax.tasks.task import Metric


@dataclasses.dataclass
class EvaluationHistory:
  """The evaluations so far; saved with every checkpoint, so that a resumed training stops alike.

  Attributes:
    headline: the metric by which evaluations are compared.
    last: metrics of the last evaluation with its `step`; {} before the first.
    best: likewise of the best evaluation; the first one if several are equal.
    stale: evaluations in a row since then.
  """

  headline: Metric
  last: dict[str, Any] = dataclasses.field(default_factory=dict)
  best: dict[str, Any] = dataclasses.field(default_factory=dict)
  stale: int = 0

  def add(self, step: int, metrics: dict[str, Any]) -> None:
    """Adds an evaluation."""
    self.last = {'step': step, **metrics}
    if not self.best or self.headline.score(metrics) > self.headline.score(self.best):
      self.best, self.stale = self.last, 0
    else:
      self.stale += 1

  def reason_to_stop(self, patience: int) -> str:
    """Why the training ends early; '' if it does not.

    Args:
      patience: number of evaluations without a better one that ends it; 0 = never.
    """
    if not patience or self.stale < patience:
      return ''
    best = self.headline.show(self.best[self.headline.name])
    return (
      f'stopped early: {self.stale} evaluations without a better {self.headline.title} than '
      f'{best} of step {self.best["step"]}'
    )

  def restore(self, meta: dict[str, Any]) -> None:
    """Reads the history from a checkpoint's meta."""
    self.last, self.best, self.stale = meta['last'], meta['best'], meta.get('stale', 0)

  def meta(self) -> dict[str, Any]:
    """The history for a checkpoint's meta."""
    return {'last': self.last, 'best': self.best, 'stale': self.stale}


def check_early_stop(config) -> None:
  """Raises UserError if a training that may stop early has no evaluations."""
  if config.early_stop and not config.eval_epochs:
    raise UserError(
      f'early_stop={config.early_stop} needs evaluations during the training: '
      f'eval_epochs={config.eval_epochs} must be above 0.'
    )
