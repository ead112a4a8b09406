"""The interface of a task."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import numpy as np

Batch = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Metric:
  """A metric of an evaluation, and how it is shown.

  Attributes:
    name: its key in the metrics.
    title: its name in texts.
    scale: factor of the shown number.
    unit: of the shown number; '' = none.
    higher_is_better: whether larger values are better.
    of_images: whether it is a share of the images, and so a multiple of 1 / images.
  """

  name: str
  title: str
  scale: float = 1.0
  unit: str = ''
  higher_is_better: bool = True
  of_images: bool = False

  @property
  def heading(self) -> str:
    """For a column or an axis, such as 'top-1, %'."""
    return f'{self.title}, {self.unit}' if self.unit else self.title

  def show(self, value: float) -> str:
    """A value as text, such as '77.10 %'."""
    return f'{self.scale * value:.2f} {self.unit}'.rstrip()

  def score(self, metrics: Mapping[str, Any]) -> float:
    """The value, negated if lower is better: the largest score is the best."""
    value = float(metrics[self.name])
    return value if self.higher_is_better else -value


class Task(Protocol):
  """Everything that the trainer knows of a task.

  Attributes:
    headline: the metric that decides on the best checkpoint and on early stopping.
    shown: the metrics in a result line and in the curves; the headline is the first.
    training_loss: how the loss in training differs from an evaluation's, in words; '' = not.
    joined: keys of `on_host` whose values have a row for each image. Those of all batches are
      joined, not added.
  """

  headline: Metric
  shown: tuple[Metric, ...]
  training_loss: str
  joined: tuple[str, ...]

  def example(self) -> jax.Array:
    """An input of the network with batch size 1, for its initialisation."""
    ...

  def mix(self, batch: Batch, key: jax.Array) -> Batch:
    """A training batch after random augmentation on the device."""
    ...

  def training_outputs(self, apply: Callable, batch: Batch, key: jax.Array) -> Any:
    """What the network says of a training batch.

    Args:
      apply: calls the network's module with these arguments, or another `method` of it.
      batch: of the data pipeline, after `mix`.
      key: of this batch; `mix` has fold_in(key, 1).

    Returns:
      What `apply` returns: outputs, and what has changed of the statistics.
    """
    ...

  def outputs(self, apply: Callable, batch: Batch) -> Any:
    """What the network says of an evaluation batch; see `training_outputs`."""
    ...

  def loss(self, outputs: Any, batch: Batch) -> jax.Array:
    """Scalar mean over the batch, of the outputs in training."""
    ...

  def loss_parts(self, outputs: Any) -> dict[str, jax.Array]:
    """The scalars that the loss is the sum of, by name; {} if it has no parts."""
    ...

  def sums(self, outputs: Any, batch: Batch) -> dict[str, jax.Array]:
    """Sums over the images with `mask`, of the outputs in evaluation; 'seen' counts them."""
    ...

  def on_host(self, sums: dict[str, np.ndarray]) -> dict[str, Any]:
    """The sums of one batch of all processes, as they are added or joined."""
    ...

  def metrics(self, sums: dict[str, Any]) -> dict[str, Any]:
    """The metrics of a split, from its sums."""
    ...
