"""The batches of a detector's training and evaluation.

Every batch is a dict of NumPy arrays with the names of `transforms.prepare`, with the rows of this
host as first axis, and with 'index', int32 [b], the number of the image in its split. All rows of a
batch are of one bucket, on every host.
"""

import collections
import concurrent.futures
import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ecanet_jax.data import shuffling
from ecanet_jax.data.detection import transforms
from ecanet_jax.data.detection.annotations import Category, DetectionSplit, Instances
from ecanet_jax.data.detection.buckets import by_bucket
from ecanet_jax.data.detection.order import Rows, TrainingOrder, evaluation_order
from ecanet_jax.data.detection.settings import Settings
from ecanet_jax.data.types import Batch, DatasetInfo, Shard, Split
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError

AHEAD = 2  # batches that are prepared while one is used


class DetectionDataset:
  """The training and the evaluation images of a detector.

  Attributes:
    settings: how they are prepared.
    evaluation: the evaluation split, with the numbers and sizes of its images.
    num_train: images that training uses.
    config: the whole configuration, if there is one.
  """

  def __init__(
    self, settings: Settings, train: DetectionSplit, evaluation: DetectionSplit, *,
    batch_size: int, seed: int, accumulate: int = 1, threads: int = 0, config: Any = None,
  ):
    """Wraps two splits.

    Args:
      settings: how images are prepared.
      train: the training split.
      evaluation: the evaluation split.
      batch_size: images per step over all hosts.
      seed: of order and random changes.
      accumulate: parts of a batch; see `Shard`.
      threads: images that are prepared at the same time; 0 = one per CPU core.
      config: the whole configuration, if there is one.

    Raises:
      UserError: the splits have different categories, or nothing is left to train on.
    """
    _require_same(train, evaluation)
    self.settings, self.evaluation, self.config = settings, evaluation, config
    self._train, self._batch_size, self._accumulate = train, batch_size, accumulate
    self._seed, self._threads = seed, threads or os.cpu_count() or 1
    chosen = train.trainable(settings)
    self.num_train = len(chosen)
    self._buckets = by_bucket(train.sizes, chosen, settings)

  @property
  def categories(self) -> tuple[Category, ...]:
    """The classes by their label."""
    return self._train.categories

  @property
  def info(self) -> DatasetInfo:
    """Splits, counts and classes, as of every data set."""
    classes = len(self.categories)
    return DatasetInfo(
      train=Split(self._train.name, self.num_train, classes),
      eval=Split(self.evaluation.name, len(self.evaluation.ids), classes),
      num_classes=classes, label_names=tuple(category.name for category in self.categories),
      index_addressable=True,
    )

  def record(self, workdir: paths.Path) -> None:
    """Does nothing: the configuration says which images are in which split."""

  def check(self) -> None:
    """Checks the image files of both splits; see `DetectionSplit.check`."""
    self._train.check()
    self.evaluation.check()

  def ground_truth(self) -> dict[str, Any]:
    """Returns the content of a COCO JSON of the evaluation split."""
    return self.evaluation.ground_truth()

  def train(
    self, start: int, steps: int | None = None, *, host: int = 0, num_hosts: int = 1,
    image_size: int | None = None,
  ) -> Iterator[Batch]:
    """Returns the training batches from step `start` on.

    Batches from step k on equal the batches from step 0 on without the first k.

    Args:
      start: number of the first step.
      steps: number of batches; None = endless.
      host: number of this host, from 0.
      num_hosts: hosts that share every batch.
      image_size: not used; the buckets are the sizes.

    Raises:
      UserError: the hosts cannot share the batch size. While iterating: an image cannot be decoded.
    """
    if start < 0:
      raise UserError(f'start={start} must not be negative')
    places = Shard(host, num_hosts, self._accumulate).places(self._batch_size)
    order = TrainingOrder(self._buckets, self._batch_size, self._seed)
    numbers = itertools.count(start) if steps is None else range(start, start + steps)
    return self._batches((order.rows(step, places) for step in numbers), self._training_row)

  def eval(
    self, *, host: int = 0, num_hosts: int = 1, batch_size: int | None = None
  ) -> tuple[Iterator[Batch], int]:
    """Returns the evaluation split, each image exactly once over all hosts.

    Args:
      host: number of this host, from 0.
      num_hosts: hosts that share the split.
      batch_size: images per step over all hosts; None = that of the training.

    Returns:
      An iterator and its number of batches, which is the same on every host. Batches have 'mask',
      bool [b], too: rows with False are padding. They have neither boxes nor labels nor masks.

    Raises:
      UserError: the hosts cannot share the batch size. While iterating: an image cannot be decoded.
    """
    size = self._batch_size if batch_size is None else batch_size
    places = Shard(host, num_hosts).places(size)
    everything = np.arange(len(self.evaluation.ids))
    batches = evaluation_order(
      by_bucket(self.evaluation.sizes, everything, self.settings), size, places
    )
    return self._batches(iter(batches), self._evaluation_row), len(batches)

  def _training_row(self, rows: Rows, row: int) -> dict[str, np.ndarray]:
    key, index = rows.keys[row : row + 1], rows.indices[row : row + 1]
    uniform = shuffling.uniform(key, index, transforms.DRAWS)[0]
    change = transforms.draw(uniform, self.settings)
    image, instances = self._train.load(int(index[0]))
    arrays = transforms.prepare(image, instances, self.settings, rows.bucket, change)
    return {**arrays, 'index': np.int32(index[0])}

  def _evaluation_row(self, rows: Rows, row: int) -> dict[str, np.ndarray]:
    index = int(rows.indices[row])
    if index < 0:
      image = np.zeros((1, 1, 3), np.uint8)
    else:
      image = self.evaluation.load(index)[0]
    nothing = Instances(np.zeros((0, 4), np.float32), np.zeros((0,), np.int32))
    arrays = transforms.prepare(image, nothing, self.settings, rows.bucket)
    seen = {name: arrays[name] for name in ('image', 'image_size', 'scale')}
    return {**seen, 'index': np.int32(max(index, 0)), 'mask': np.bool_(index >= 0)}

  def _batches(self, batches: Iterator[Rows], prepare) -> Iterator[Batch]:
    """Prepares the rows in threads, a few batches ahead."""
    with concurrent.futures.ThreadPoolExecutor(self._threads) as pool:
      waiting: collections.deque[list[concurrent.futures.Future]] = collections.deque()
      try:
        for rows in batches:
          waiting.append([pool.submit(prepare, rows, row) for row in range(len(rows.indices))])
          if len(waiting) > AHEAD:
            yield _stacked(waiting.popleft())
        while waiting:
          yield _stacked(waiting.popleft())
      finally:
        for futures in waiting:
          for future in futures:
            future.cancel()


def _stacked(futures: Sequence[concurrent.futures.Future]) -> Batch:
  examples = [future.result() for future in futures]
  return {name: np.stack([example[name] for example in examples]) for name in examples[0]}


def _require_same(train: DetectionSplit, evaluation: DetectionSplit) -> None:
  for pair in itertools.zip_longest(train.categories, evaluation.categories):
    if pair[0] != pair[1]:
      mine, other = (f'{one.id} {one.name!r}' if one else 'nothing' for one in pair)
      raise UserError(
        f'the categories differ: {train.name} has {mine} where {evaluation.name} has {other}; give '
        'both files the same list of categories'
      )
