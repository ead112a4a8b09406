"""Which images a step reads: a pure function of (seed, step), without any state.

Every batch is of one bucket. Each bucket goes through its images again and again, in an order that
is new in every epoch, and a batch may cross the end of an epoch. In epoch e, which starts at 0, a
bucket of n images has the batches floor(e n / B) to floor((e + 1) n / B), and the batches of all
buckets are shuffled. So every image is seen equally often.
"""

from typing import NamedTuple

import numpy as np

from ecanet_jax.data import shuffling


class Rows(NamedTuple):
  """Some rows of a batch.

  Attributes:
    bucket: number of the bucket.
    keys: of the random numbers of each row, int64 [rows].
    indices: the images, int64 [rows]; -1 = padding.
  """

  bucket: int
  keys: np.ndarray
  indices: np.ndarray


class TrainingOrder:
  """The endless sequence of training batches."""

  def __init__(self, buckets: list[np.ndarray], batch_size: int, seed: int):
    """Wraps the images.

    Args:
      buckets: numbers of the images in each bucket.
      batch_size: of all hosts.
      seed: of the run.
    """
    self._buckets, self._batch_size, self._seed = buckets, batch_size, seed

  def rows(self, step: int, places: np.ndarray) -> Rows:
    """Returns the rows `places` of the batch of one step."""
    epoch = self._epoch(step)
    first = [self._batches(images, epoch) for images in self._buckets]
    last = [self._batches(images, epoch + 1) for images in self._buckets]
    which = np.repeat(np.arange(len(self._buckets)), np.subtract(last, first))
    order = shuffling.permutation(len(which), self._seed, epoch)
    place = step - sum(first)
    bucket = int(which[order[place]])
    before = int(np.sum(which[order[:place]] == bucket))
    keys, positions = shuffling.batch_positions(
      len(self._buckets[bucket]), self._seed, first[bucket] + before, self._batch_size, places
    )
    return Rows(bucket, keys, self._buckets[bucket][positions])

  def _batches(self, images: np.ndarray, epoch: int) -> int:
    """The full batches of a bucket before an epoch."""
    return epoch * len(images) // self._batch_size

  def _epoch(self, step: int) -> int:
    """The epoch e with total(e) <= step < total(e + 1)."""
    low, high = 0, 1
    while self._total(high) <= step:
      low, high = high, 2 * high
    while high - low > 1:
      middle = (low + high) // 2
      low, high = (middle, high) if self._total(middle) <= step else (low, middle)
    return low

  def _total(self, epoch: int) -> int:
    return sum(self._batches(images, epoch) for images in self._buckets)


def evaluation_order(buckets: list[np.ndarray], batch_size: int, places: np.ndarray) -> list[Rows]:
  """Returns the batches of an evaluation: every image once, bucket by bucket.

  Every host has the same buckets in the same order.

  Args:
    buckets: numbers of the images in each bucket.
    batch_size: of all hosts.
    places: rows of this host.
  """
  batches = []
  for bucket, images in enumerate(buckets):
    for first in range(0, len(images), batch_size):
      batch = np.full((batch_size,), -1, np.int64)
      part = images[first : first + batch_size]
      batch[: len(part)] = part
      batches.append(Rows(bucket, np.zeros((len(places),), np.int64), batch[places]))
  return batches
