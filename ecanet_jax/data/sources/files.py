"""Image files on disk or in a bucket: what image folders and CSV files have in common.

Any image can be read at any time. In a bucket (gs://) TensorFlow reads them. Before training every
file of a split of up to 20,000 is decoded; more unreadable files than data.max_bad allows are an
error.
"""

import concurrent.futures
import copy
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ecanet_jax.data.labels import count_labels
from ecanet_jax.data.tfdata import decode, pipeline
from ecanet_jax.data.tfdata.corrupt_images import allowed_count, error_text
from ecanet_jax.data.tfdata.tf_import import tensorflow
from ecanet_jax.data.types import Batch, DatasetInfo, Shard, Source, Split
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError

tf = tensorflow()

CHECKED = 20_000  # files; a larger split is checked only while it is read
REQUESTS = 32  # at the same time: a bucket takes a while to answer


class FileSplit:
  """The files of one split; see `pipeline.IndexedSplit`."""

  def __init__(self, origin: paths.Path, files: Sequence[str], labels: np.ndarray):
    """Wraps the files.

    Args:
      origin: the folder or list that names them, for messages.
      files: their paths.
      labels: int32 [n], or bool [n, classes] for several labels.
    """
    self.origin = origin
    self.paths = np.array([os.fsencode(path) for path in files], object)
    self.labels = labels

  def __len__(self) -> int:
    return len(self.labels)

  def names(self, root: paths.Path) -> list[str]:
    """The paths of the images below a folder, such as 'cat/1.jpg'."""
    return [os.fsdecode(path).removeprefix(f'{root}/') for path in self.paths]

  def part(self, chosen: np.ndarray) -> 'FileSplit':
    """The images for which `chosen`, bool [n], is True."""
    part = copy.copy(self)
    part.paths, part.labels = self.paths[chosen], self.labels[chosen]
    return part

  def fetch(self, indices: np.ndarray) -> dict[str, Any]:
    """Returns {'data': paths, 'label': int32 [n] or bool [n, classes], 'name': paths}."""
    paths = self.paths[indices]
    return {'data': paths, 'label': self.labels[indices], 'name': paths}

  def read(self, data):
    """Returns the bytes of the file with the path `data` (TensorFlow string scalars)."""
    return tf.io.read_file(data)

  def check(self, allowed: int = 0) -> None:
    """Decodes every image.

    Raises:
      UserError: more than `allowed` cannot be read or decoded; the text counts them and names the
        first five.
    """
    decoded_size = tf.function(
      lambda path: tf.size(decode.decode(self.read(path))),
      input_signature=[tf.TensorSpec([], tf.string)], autograph=False,
    ).get_concrete_function()

    def mistake(path: bytes) -> str:
      try:
        decoded_size(tf.constant(path))
      except tf.errors.OpError as error:
        return f'{os.fsdecode(path)} ({error_text(error)})'
      return ''

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
      found = [text for text in pool.map(mistake, self.paths) if text]
    if len(found) > allowed:
      more = f'; and {len(found) - 5} more' if len(found) > 5 else ''
      raise UserError(
        f'{self.origin}: {len(found)} of {len(self):,} files cannot be read as images: '
        f'{"; ".join(found[:5])}{more}'
      )


class FileSource(Source):
  """A training and an evaluation split of image files."""

  def __init__(
    self, config, train: FileSplit, evaluation: FileSplit, class_names: tuple[str, ...],
    *, multi_label: bool = False, drawn: bool = False,
  ):
    """Wraps the splits.

    Args:
      config: the whole config.
      train: the training split.
      evaluation: the evaluation split.
      class_names: of both.
      multi_label: see `DatasetInfo`.
      drawn: see `DatasetInfo`.
    """
    data, count = config.data, len(class_names)
    self._config, self._data, self._train, self._eval = config, data, train, evaluation
    self.info = DatasetInfo(
      train=Split(data.train_split, len(train), count),
      eval=Split(data.eval_split, len(evaluation), count),
      num_classes=count,
      label_names=class_names,
      index_addressable=True,
      multi_label=multi_label,
      drawn=drawn,
    )

  def check(self) -> None:
    """Decodes every image of each split of up to `CHECKED` files; see `FileSplit.check`.

    A fraction data.max_bad of the training images may be corrupt: others replace them in training.
    """
    some = allowed_count(self._data.max_bad, len(self._train))
    for split, number in ((self._train, some), (self._eval, 0)):
      if len(split) <= CHECKED:
        split.check(number)

  def train(
    self, start: int, steps: int | None, shard: Shard, image_size: int
  ) -> Iterator[Batch]:
    """Yields this host's rows of the training batches from step `start` on; None = endless."""
    return pipeline.indexed_train(self._config, self._train, start, steps, shard, image_size)

  def eval(self, rows: int, shard: Shard, crops: int = 1) -> Iterator[Batch]:
    """Yields this host's part of the evaluation split once; the last batch may be short."""
    transform = decode.eval_transform(
      self._data.image_size, self._data.crop_fraction, self._data.interpolation, crops,
      self._data.crop_mode, self._data.exif,
    )
    part = shard.examples(len(self._eval))
    return pipeline.indexed_in_order(
      self._eval, part, transform, rows, self._data.decode_threads
    )

  def label_counts(self) -> np.ndarray:
    """Returns the number of training images of each class, int64 [classes]."""
    return count_labels(self._train.labels, self.info.num_classes)

  def train_images(self, side: int, rows: int) -> Iterator[Batch]:
    """Yields the whole training split once, in order: the largest centred squares."""
    transform = decode.eval_transform(side, 1.0, self._data.interpolation, exif=self._data.exif)
    part = range(len(self._train))
    return pipeline.indexed_in_order(
      self._train, part, transform, rows, self._data.decode_threads
    )
