"""What every source of images is: its splits, and the part of them that one host reads."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

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
  """What a configuration's data are.

  Attributes:
    train: the training split.
    eval: the evaluation split.
    num_classes: classes of both.
    label_names: one name per class, or None when the data have none.
    multi_label: a label is bool [num_classes], the classes that are right; there may be none.
    index_addressable: a training batch is a pure function of the configuration and the step,
      whatever the number of hosts; otherwise it is one for a fixed number of hosts.
  """

  train: Split
  eval: Split
  num_classes: int
  label_names: tuple[str, ...] | None
  index_addressable: bool
  multi_label: bool = False


@dataclasses.dataclass(frozen=True)
class Shard:
  """The part of the work that one host does: number `host` of `num_hosts`.

  A training batch whose gradient is accumulated has `parts`, of each of which a host has its share.
  """

  host: int = 0
  num_hosts: int = 1
  parts: int = 1

  def __post_init__(self):
    if not 0 <= self.host < self.num_hosts:
      raise UserError(f'host {self.host} is not one of {self.num_hosts} hosts (counted from 0)')

  def rows(self, batch_size: int) -> int:
    """Returns this host's rows of a batch of `batch_size` images over all hosts."""
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
    """Returns which rows of a batch are this host's, int64 [rows]: its share of each part in turn.

    The parts are consecutive rows of the batch, so that they do not depend on the hosts.
    """
    share = self.rows(batch_size) // self.parts
    first = np.arange(self.parts) * (batch_size // self.parts) + self.host * share
    return (first[:, None] + np.arange(share)[None]).ravel()

  def examples(self, num_examples: int) -> range:
    """Returns this host's contiguous part of a split; the parts differ by at most one example."""
    first, last = (num_examples * host // self.num_hosts for host in (self.host, self.host + 1))
    return range(first, last)


class Source(Protocol):
  """Where images come from."""

  info: DatasetInfo

  def train_batches(self, start_step: int, steps: int | None, shard: Shard) -> Iterator[Batch]:
    """Yields this host's rows of `steps` training batches from `start_step` on; None = endless."""

  def eval_batches(self, rows: int, shard: Shard, crops: int = 1) -> Iterator[Batch]:
    """Yields this host's part of the evaluation split once; the last batch may be short.

    With crops=5 an image is uint8 [n, 5, size, size, 3].
    """

  def label_counts(self) -> np.ndarray:
    """Returns how many training images every class has, int64 [classes]."""


def eval_steps(num_examples: int, rows: int, num_hosts: int) -> int:
  """Returns the steps that the host with the most examples needs; every host does as many."""
  most = -(-num_examples // num_hosts)
  return -(-most // rows)


def padded(
  batches: Iterator[Batch], rows: int, steps: int, image: tuple[int, ...], labels: int = 0
) -> Iterator[Batch]:
  """Yields exactly `steps` batches of `rows` rows; rows that are no image have mask False.

  Args:
    batches: {'image': uint8 [n, *image], 'label': int32 [n] or bool [n, labels]}, n <= rows.
    rows: rows of every batch that is yielded.
    steps: batches to yield.
    image: shape of an image or of its crops.
    labels: classes of the labels of a multi-label set, else 0.
  """
  batches = iter(batches)
  for _ in range(steps):
    whole = {
      'image': np.zeros((rows, *image), np.uint8),
      'label': np.zeros((rows, labels), bool) if labels else np.zeros((rows,), np.int32),
    }
    batch = next(batches, None)
    seen = 0 if batch is None else len(batch['label'])
    if seen == rows:
      whole = {name: batch[name] for name in whole}
    elif seen:
      for name, array in whole.items():
        array[:seen] = batch[name]
    yield {**whole, 'mask': np.arange(rows) < seen}


def checked(batches: Iterator[Batch], num_classes: int) -> Iterator[Batch]:
  """Yields training batches whose labels are classes; see `check_labels`."""
  for batch in batches:
    check_labels(batch['label'], num_classes)
    yield batch


def check_labels(labels: np.ndarray, num_classes: int) -> None:
  """Raises UserError when a label is not one of the classes, which the loss would not notice."""
  wrong = labels[(labels < 0) | (labels >= num_classes)]
  if wrong.size:
    raise UserError(
      f'the training split has an image with label {wrong[0]}; labels must be from 0 to '
      f'{num_classes - 1}. Take another data.train_split, or prepare the data set again.'
    )


def count_labels(labels: np.ndarray, num_classes: int) -> np.ndarray:
  """Returns how many of the labels every class has, int64 [classes]."""
  check_labels(labels, num_classes)
  return np.bincount(labels, minlength=num_classes)


def require_square(config: Any) -> int:
  """Returns `config.data.image_size`, or raises UserError when it is not a positive number."""
  size = config.data.image_size
  if size < 1:
    raise UserError(f'data.image_size={size} must be at least 1 pixel')
  return size
