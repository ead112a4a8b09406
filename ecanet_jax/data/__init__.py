"""What an image becomes: sources, order, decoding and augmentation.

Three functions are all that training needs: `describe`, `train_batches` and `eval_batches`
(`label_counts` too, where its loss is balanced). The only state of the data is the number of the
step. Images are uint8, [b, size, size, 3], RGB; normalisation happens on the device. TensorFlow is
imported only for sources whose images have to be decoded.
"""

from collections.abc import Iterator

import numpy as np

from ecanet_jax.data.augmentation import settings
from ecanet_jax.data.types import (
  Batch,
  DatasetInfo,
  Shard,
  Source,
  Split,
  checked,
  eval_steps,
  padded,
)
from ecanet_jax.runtime.errors import UserError, lookup

__all__ = [
  'Batch', 'DatasetInfo', 'Split', 'check', 'describe', 'eval_batches', 'label_counts',
  'train_batches',
]


def describe(config) -> DatasetInfo:
  """Returns what the configuration's data are: splits, counts, classes.

  Raises:
    UserError: an unknown or unprepared data set, an unknown split, folders that do not agree.
  """
  return _open(config).info


def check(config) -> None:
  """Reads all of a folder of images before a training begins; other sources are checked already.

  Raises:
    UserError: files that cannot be read, counted and named.
  """
  source = _open(config)
  if hasattr(source, 'check'):
    source.check()


def train_batches(
  config, start_step: int, steps: int | None = None, *, host: int = 0, num_hosts: int = 1
) -> Iterator[Batch]:
  """Returns the stream of training batches from step `start_step` on.

  The stream from step k equals the stream from step 0 without its first k batches.

  Args:
    config: the whole configuration; seed, batch_size, accumulate, data and augment are used.
    start_step: number of the first batch.
    steps: how many batches; None = without end.
    host: this host's number, from 0.
    num_hosts: hosts that share every batch.

  Returns:
    Iterator of {'image': uint8 [b, size, size, 3], 'label': int32 [b]} with
    b = config.batch_size / num_hosts. Arrays may be read-only.

  Raises:
    UserError: see `describe`; also a batch size that the hosts cannot share, augmentation that does
      not exist, and, while iterating, an image that cannot be decoded (the text names it) or whose
      label is no class.
  """
  if start_step < 0:
    raise UserError(f'start_step={start_step} must not be negative')
  settings.check(config)
  shard = Shard(host, num_hosts, config.accumulate)
  shard.rows(config.batch_size)
  source = _open(config)
  return checked(source.train_batches(start_step, steps, shard), source.info.num_classes)


def label_counts(config) -> np.ndarray:
  """Returns how many training images every class has, int64 [classes].

  Folders and sets in memory know it; of a TFDS data set the whole split is read once.

  Raises:
    UserError: see `describe`; also a label that is no class.
  """
  return _open(config).label_counts()


def eval_batches(
  config, *, host: int = 0, num_hosts: int = 1, batch_size: int | None = None, crops: int = 1
) -> tuple[Iterator[Batch], int]:
  """Returns the evaluation split, each image exactly once over all hosts.

  Args:
    config: the whole configuration; batch_size and data are used.
    host: this host's number, from 0.
    num_hosts: hosts that share the split.
    batch_size: images per step over all hosts; None = config.batch_size.
    crops: 1 = the centre; 5 = the four corners and the centre (`augment.five_crops`).

  Returns:
    (iterator, steps): exactly `steps` batches, as many on every host, {'image': uint8
    [b, size, size, 3], 'label': int32 [b], 'mask': bool [b]} with b = batch_size / num_hosts. Rows
    with mask False are padding. With crops=5 the images are [b, 5, size, size, 3]; of a multi-label
    set the labels are bool [b, classes].

  Raises:
    UserError: see `train_batches`.
  """
  shard = Shard(host, num_hosts)
  rows = shard.rows(config.batch_size if batch_size is None else batch_size)
  source = _open(config)
  steps = eval_steps(source.info.eval.num_examples, rows, num_hosts)
  batches = source.eval_batches(rows, shard, crops)
  image = (config.data.image_size,) * 2 + (3,)
  labels = source.info.num_classes if source.info.multi_label else 0
  return padded(batches, rows, steps, image if crops == 1 else (crops, *image), labels), steps


def _prepared(config) -> Source:
  from ecanet_jax.data.sources.tfds import PreparedSource

  return PreparedSource(config)


def _folder(config) -> Source:
  from ecanet_jax.data.sources.image_folder import FolderSource

  return FolderSource(config)


def _memory(config) -> Source:
  from ecanet_jax.data.sources.in_memory import MemorySource

  return MemorySource(config)


SOURCES = {'tfds': _prepared, 'folder': _folder, 'memory': _memory}


def _open(config) -> Source:
  return lookup(SOURCES, config.data.source, 'source (data.source)')(config)
