"""The data that pass between sources, pipelines and training."""

import dataclasses
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Split:
  """One split of a data set: `num_examples` images of `num_classes` classes."""

  name: str
  num_examples: int
  num_classes: int


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
  """Facts about a data set.

  Attributes:
    train: the training split.
    eval: the evaluation split.
    num_classes: classes of both splits.
    label_names: one name per class, or None if the data set has no names.
    index_addressable: images can be read in any order. A training batch then depends on the
      configuration and the step alone; otherwise it depends on the number of hosts as well.
    multi_label: an image has any number of labels. A label is bool [num_classes].
    drawn: the evaluation images were chosen now (data.eval_share), not by an earlier training.
  """

  train: Split
  eval: Split
  num_classes: int
  label_names: tuple[str, ...] | None
  index_addressable: bool
  multi_label: bool = False
  drawn: bool = False


@dataclasses.dataclass(frozen=True)
class Shard:
  """The share of one host: number `host` of `num_hosts`.

  With gradient accumulation a training batch consists of `parts` consecutive parts. A host has
  its share of every part.
  """

  host: int = 0
  num_hosts: int = 1
  parts: int = 1

  def __post_init__(self):
    if not 0 <= self.host < self.num_hosts:
      raise UserError(f'host {self.host} is not one of {self.num_hosts} hosts (counted from 0)')

  def rows(self, batch_size: int) -> int:
    """Returns the number of rows of this host in a global batch of `batch_size` images."""
    if batch_size < 1 or batch_size % self.num_hosts:
      raise UserError(
        f'batch_size={batch_size} must be a positive multiple of the number of hosts, '
        f'{self.num_hosts}'
      )
    if self.parts < 1 or batch_size % (self.num_hosts * self.parts):
      raise UserError(
        f'accumulate={self.parts} must be at least 1 and divide batch_size={batch_size} on '
        f'{self.num_hosts} host(s)'
      )
    return batch_size // self.num_hosts

  def places(self, batch_size: int) -> np.ndarray:
    """Returns the row numbers of this host in the global batch, int64 [rows], part by part."""
    share = self.rows(batch_size) // self.parts
    first = np.arange(self.parts) * (batch_size // self.parts) + self.host * share
    return (first[:, None] + np.arange(share)[None]).ravel()

  def examples(self, num_examples: int) -> range:
    """Returns this host's contiguous part of a split; parts differ by at most one example."""
    first, last = (num_examples * host // self.num_hosts for host in (self.host, self.host + 1))
    return range(first, last)


class Source(Protocol):
  """A data set that has been opened: it is listed once and can be read many times."""

  info: DatasetInfo

  def check(self) -> None:
    """Raises UserError if it is known before training that images cannot be decoded."""

  def train(
    self, start: int, steps: int | None, shard: Shard, image_size: int
  ) -> Iterator[Batch]:
    """Yields this host's rows of the training batches from step `start` on.

    Args:
      start: number of the first step.
      steps: number of batches; None = endless.
      shard: this host's share.
      image_size: pixels, height = width.
    """

  def eval(self, rows: int, shard: Shard, crops: int = 1) -> Iterator[Batch]:
    """Yields this host's part of the evaluation split once; the last batch may be short.

    With crops=5 an image is uint8 [n, 5, size, size, 3].
    """

  def label_counts(self) -> np.ndarray:
    """Returns the number of training images of each class, int64 [classes]."""

  def record(self, workdir: paths.Path) -> None:
    """Writes what later starts need to read the same splits. Most sources need nothing."""

  def stored_size(self, image_size: int) -> int:
    """Returns the side, in pixels, at which `train_images` are kept to train at `image_size`."""
    return image_size

  def train_images(self, side: int, rows: int) -> Iterator[Batch]:
    """Yields the whole training split once, in order and without augmentation.

    Each image is its largest centred square, resized to `side` pixels.
    """
