"""What the trainer must know of a task."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import jax

Batch = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Metric:
  """A figure of an evaluation, and how it is shown.

  Attributes:
    name: its key in the metrics.
    title: its name in a text.
    scale: factor of the shown number.
    unit: of the shown number, '' for none.
    higher_is_better: whether a larger value is a better one.
  """

  name: str
  title: str
  scale: float = 1.0
  unit: str = ''
  higher_is_better: bool = True

  @property
  def heading(self) -> str:
    """Of a column or an axis, such as 'top-1, %'."""
    return f'{self.title}, {self.unit}' if self.unit else self.title

  def show(self, value: float) -> str:
    """A value as a text, such as '77.10 %'."""
    return f'{self.scale * value:.2f} {self.unit}'.rstrip()

  def score(self, metrics: Mapping[str, Any]) -> float:
    """The value, or its negative where lower is better, so that the largest score is the best."""
    value = float(metrics[self.name])
    return value if self.higher_is_better else -value


class Task(Protocol):
  """The trainer's whole view of a task.

  Attributes:
    headline: the metric by which evaluations are compared: the best checkpoint, early stopping.
    shown: the metrics of a result line and of the curves; the headline is the first.
  """

  headline: Metric
  shown: tuple[Metric, ...]

  def example(self) -> jax.Array:
    """An input of the network with batch size 1, to initialise it."""
    ...

  def mix(self, batch: Batch, key: jax.Array) -> Batch:
    """A training batch after random augmentation on the device."""
    ...

  def inputs(self, batch: Batch) -> jax.Array:
    """The network's input for a batch of the data pipeline."""
    ...

  def loss(self, outputs: jax.Array, batch: Batch) -> jax.Array:
    """Scalar mean over the batch."""
    ...

  def sums(self, outputs: jax.Array, batch: Batch) -> dict[str, jax.Array]:
    """Sums over the images with `mask`; 'seen' counts them."""
    ...

  def metrics(self, sums: dict[str, Any]) -> dict[str, Any]:
    """The metrics of a split, from its sums."""
    ...
