"""A data set that is opened once and read for training and for every evaluation."""

from collections.abc import Iterator

import numpy as np
from ml_collections import ConfigDict

from ecanet_jax.data.augmentation import settings
from ecanet_jax.data.labels import with_checked_labels
from ecanet_jax.data.sources.in_memory import InMemorySource
from ecanet_jax.data.sources.on_device import Resident
from ecanet_jax.data.types import Batch, DatasetInfo, Shard, Source
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, lookup


class Dataset:
  """The training and the evaluation images of one configuration.

  Attributes:
    config: the whole configuration.
  """

  def __init__(self, config, source: Source):
    """Wraps a source; `open` finds the source of a configuration."""
    self.config, self._source = config, source

  @property
  def info(self) -> DatasetInfo:
    """Splits, counts and classes."""
    return self._source.info

  def check(self) -> None:
    """Decodes every image of a small image folder; other sources need no check.

    Raises:
      UserError: files that cannot be read; the text counts and names them.
    """
    self._source.check()

  def record(self, workdir: paths.Path) -> None:
    """Writes what later starts need to read the same splits; see `Source.record`."""
    self._source.record(workdir)

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
      image_size: pixels, height = width; None = config.data.image_size. Order, crops and
        augmentation do not depend on it.

    Returns:
      An iterator of dicts with 'image', uint8 [b, size, size, 3], and 'label', int32 [b], where
      b = config.batch_size / num_hosts. Labels of a multi-label set are bool [b, classes]. Arrays
      may be read-only.

    Raises:
      UserError: the hosts cannot share the batch size, or an augmentation does not exist. While
        iterating: an image cannot be decoded (the text names it), or a label is no class.
    """
    if start < 0:
      raise UserError(f'start={start} must not be negative')
    settings.check(self.config)
    shard = Shard(host, num_hosts, self.config.accumulate)
    shard.rows(self.config.batch_size)
    batches = self._source.train(start, steps, shard, self._image_size(image_size))
    return with_checked_labels(batches, self.info.num_classes)

  def resident(self, image_size: int | None = None) -> Resident:
    """Returns the training images decoded and ready for the device; see `Resident`.

    Args:
      image_size: see `train`.

    Raises:
      UserError: too many images for a device, or an augmentation that decoded images cannot have.
    """
    settings.check(self.config)
    return Resident(self.config, self._source, self._image_size(image_size))

  def eval(
    self, *, host: int = 0, num_hosts: int = 1, batch_size: int | None = None, crops: int = 1
  ) -> tuple[Iterator[Batch], int]:
    """Returns the evaluation split, each image exactly once over all hosts.

    Args:
      host: number of this host, from 0.
      num_hosts: hosts that share the split.
      batch_size: images per step over all hosts; None = config.batch_size.
      crops: 1 = the centre crop; 5 = the four corners and the centre.

    Returns:
      An iterator and its number of batches, which is the same on every host. A batch is a dict with
      'image', uint8 [b, size, size, 3], 'label', int32 [b], and 'mask', bool [b], where
      b = batch_size / num_hosts. Rows with mask False are padding. With crops=5 images are
      [b, 5, size, size, 3]. Labels of a multi-label set are bool [b, classes].

    Raises:
      UserError: the hosts cannot share the batch size. While iterating: an image cannot be decoded.
    """
    config, info = self.config, self.info
    shard = Shard(host, num_hosts)
    rows = shard.rows(config.batch_size if batch_size is None else batch_size)
    most = -(-info.eval.num_examples // num_hosts)  # of one host
    steps = -(-most // rows)
    image = (config.data.image_size, config.data.image_size, 3)
    classes = info.num_classes if info.multi_label else 0
    batches = self._source.eval(rows, shard, crops)
    return _padded(batches, rows, steps, image if crops == 1 else (crops, *image), classes), steps

  def label_counts(self) -> np.ndarray:
    """Returns the number of training images of each class, int64 [classes].

    A TFDS data set is read once for this; other sources know it.

    Raises:
      UserError: a label is no class.
    """
    return self._source.label_counts()

  def _image_size(self, image_size: int | None) -> int:
    return self.config.data.image_size if image_size is None else image_size


def _tfds(config, workdir) -> Source:
  from ecanet_jax.data.sources.tfds import TfdsSource  # imports TensorFlow

  return TfdsSource(config)


def _image_folder(config, workdir) -> Source:
  from ecanet_jax.data.sources.image_folder import ImageFolderSource  # imports TensorFlow

  return ImageFolderSource(config, workdir)


def _image_csv(config, workdir) -> Source:
  from ecanet_jax.data.sources.image_csv import ImageCsvSource  # imports TensorFlow

  return ImageCsvSource(config)


def _in_memory(config, workdir) -> Source:
  return InMemorySource(config)


SOURCES = {'tfds': _tfds, 'folder': _image_folder, 'csv': _image_csv, 'memory': _in_memory}


def open(config: ConfigDict, workdir: 'paths.Path | None' = None) -> Dataset:
  """Opens the data set of a configuration: lists its files or reads its metadata.

  Args:
    config: the whole configuration; seed, batch_size, accumulate, data and augment are used.
    workdir: of a training, if there is one: it may say which images are held out.

  Raises:
    UserError: an unknown or unprepared data set, an unknown split, folders that do not agree.
  """
  size = config.data.image_size
  if size < 1:
    raise UserError(f'data.image_size={size} must be at least 1 pixel')
  make = lookup(SOURCES, config.data.source, 'source (data.source)')
  return Dataset(config, make(config, workdir))


def _padded(
  batches: Iterator[Batch], rows: int, steps: int, image: tuple[int, ...], classes: int
) -> Iterator[Batch]:
  """Yields exactly `steps` batches of `rows` rows; padding rows have mask False.

  Args:
    batches: {'image': uint8 [n, *image], 'label': int32 [n] or bool [n, classes]}, n <= rows.
    rows: rows of every batch.
    steps: number of batches.
    image: shape of an image or of its crops.
    classes: classes of a multi-label set, else 0.
  """
  batches = iter(batches)
  for _ in range(steps):
    padded = {
      'image': np.zeros((rows, *image), np.uint8),
      'label': np.zeros((rows, classes), bool) if classes else np.zeros((rows,), np.int32),
    }
    batch = next(batches, None)
    count = 0 if batch is None else len(batch['label'])
    if count == rows:
      padded = {name: batch[name] for name in padded}
    elif count:
      for name, array in padded.items():
        array[:count] = batch[name]
    yield {**padded, 'mask': np.arange(rows) < count}
