"""Steps that are not finite: they are left out and counted, and too many end the training.

A single NaN would stay in BatchNorm's statistics, the average and the optimizer's moments. The step
number still grows, so that the next step gets the next batch and random key. The optimizer's state,
with its count of updates, does not change: after k such steps the learning rate lags by k steps.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.log import log

Tree = TypeVar('Tree')


class NonFiniteError(UserError):
  """Too many steps in a row were not finite.

  Attributes:
    step: the last of them.
    values: metrics of the last steps, by step.
  """

  def __init__(self, text: str, step: int = 0, values: dict[int, dict[str, float]] | None = None):
    super().__init__(text)
    self.step, self.values = step, values or {}


def finite(loss: jax.Array, grad_norm: jax.Array, variables) -> jax.Array:
  """Whether a step may change the state, as a bool scalar; call it under jit.

  The new parameters and running statistics must be finite, too. After a far too high learning rate,
  or an overflow of a variance, they are not, although loss and gradient are.
  """
  sums = [leaf.sum() for leaf in jax.tree.leaves(variables)]
  # One reduction: XLA would repeat a chain of additions in every consumer.
  return jnp.isfinite(jnp.stack([loss, grad_norm, *sums])).all()


def choose(ok: jax.Array, new: Tree, old: Tree) -> Tree:
  """`new` if ok, else `old`, bit for bit; XLA fuses it into the computation of `new`."""
  return jax.tree.map(lambda one, other: jnp.where(ok, one, other), new, old)


class NonFiniteCounter:
  """Counts the steps that were left out; saved in a checkpoint's meta.

  Attributes:
    limit: most steps in a row that may be left out.
    total: steps left out so far.
    row: steps left out since the last good one.
  """

  def __init__(self, limit: int):
    self.limit, self.total, self.row = limit, 0, 0

  def restore(self, meta: dict[str, Any]) -> None:
    """Reads the counts from a checkpoint's meta; older checkpoints have none."""
    self.total, self.row = meta.get('bad_steps', (0, 0))

  def meta(self) -> dict[str, Any]:
    """The counts for a checkpoint's meta."""
    return {'bad_steps': [self.total, self.row]}

  def add(self, steps: Sequence[int], metrics: Sequence[dict[str, float]]) -> int:
    """Counts finished steps from their metrics; returns how many were left out.

    Raises:
      NonFiniteError: more than `limit` in a row; `step` is the last of them.
    """
    before = self.total
    for step, values in zip(steps, metrics, strict=True):
      if values['left_out']:
        self.total, self.row = self.total + 1, self.row + 1
        log.warning(
          'step %d is left out: loss %g, gradient norm %g; %d in a row, %d so far',
          step, values['loss'], values['grad_norm'], self.row, self.total,
        )
      else:
        self.row = 0
      if self.row > self.limit:
        raise NonFiniteError(
          f'step {step}: loss {values["loss"]}, gradient norm {values["grad_norm"]} is not finite, '
          f'{self.row} steps in a row; stopped', step, dict(zip(steps, metrics)),
        )
    return self.total - before
