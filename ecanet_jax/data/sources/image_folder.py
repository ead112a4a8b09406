"""Images in folders: DATA_DIR/SPLIT/CLASS/*.jpg. The class names are the sorted folder names.

Every file in a class folder, at any depth, is an image. A file of another kind is an error, not
something to skip. Hidden files (.name, Thumbs.db, desktop.ini) are ignored.

The folders are listed once, when the data set is opened. Before training every file of a split of
up to 20,000 is decoded; more unreadable files than data.max_bad allows are an error.
"""

import concurrent.futures
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from ecanet_jax.data.labels import count_labels
from ecanet_jax.data.tfdata import decode, pipeline
from ecanet_jax.data.tfdata.corrupt_images import allowed_count, error_text
from ecanet_jax.data.tfdata.tf_import import tensorflow
from ecanet_jax.data.types import Batch, DatasetInfo, Shard, Source, Split
from ecanet_jax.runtime.errors import UserError, closest

tf = tensorflow()

EXTENSIONS = ('.jpg', '.jpeg', '.jpe', '.png', '.gif', '.bmp', '.webp')
CHECKED = 20_000  # files; a larger split is checked only while it is read
_IGNORED = ('thumbs.db', 'desktop.ini')


class FolderSplit:
  """The files of one split; see `pipeline.IndexedSplit`."""

  def __init__(self, directory: str):
    self.directory = directory
    self.class_names = _class_names(directory)
    paths, labels = [], []
    for label, name in enumerate(self.class_names):
      found = list(_images(os.path.join(directory, name)))
      if not found:
        raise UserError(f'{os.path.join(directory, name)}: a class folder without any image')
      paths += found
      labels += [label] * len(found)
    self.paths = np.array([os.fsencode(path) for path in paths], object)
    self.labels = np.array(labels, np.int32)

  def __len__(self) -> int:
    return len(self.labels)

  def fetch(self, indices: np.ndarray) -> dict[str, Any]:
    """Returns {'data': paths, 'label': int32 [n], 'name': paths}."""
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
        f'{self.directory}: {len(found)} of {len(self):,} files cannot be read as images: '
        f'{"; ".join(found[:5])}{more}'
      )


class ImageFolderSource(Source):
  """A training and an evaluation folder with the same classes."""

  def __init__(self, config):
    data = self._data = config.data
    self._config = config
    root = os.path.expanduser(data.data_dir)
    if not root:
      raise UserError("data.source='folder' needs data.data_dir, the folder that holds the splits")
    self._train = FolderSplit(_split_directory(root, data.train_split, 'data.train_split'))
    if data.eval_split == data.train_split:
      self._eval = self._train
    else:
      self._eval = FolderSplit(_split_directory(root, data.eval_split, 'data.eval_split'))
    names = self._train.class_names
    if names != self._eval.class_names:
      _raise_different(self._train, self._eval)
    self.info = DatasetInfo(
      train=Split(data.train_split, len(self._train), len(names)),
      eval=Split(data.eval_split, len(self._eval), len(names)),
      num_classes=len(names),
      label_names=names,
      index_addressable=True,
    )

  def check(self) -> None:
    """Decodes every image of each split of up to `CHECKED` files; see `FolderSplit.check`.

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
      self._data.image_size, self._data.crop_fraction, self._data.interpolation, crops
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
    transform = decode.eval_transform(side, 1.0, self._data.interpolation)
    part = range(len(self._train))
    return pipeline.indexed_in_order(
      self._train, part, transform, rows, self._data.decode_threads
    )


def _split_directory(root: str, split: str, key: str) -> str:
  directory = os.path.join(root, split)
  if os.path.isdir(directory):
    return directory
  if not os.path.isdir(root):
    raise UserError(f'data.data_dir={root!r} is not a folder')
  known = sorted(name for name in os.listdir(root) if os.path.isdir(os.path.join(root, name)))
  raise UserError(
    f'{root} has no folder {split!r} for {key}.{closest(split, known)} '
    f'Folders: {", ".join(known[:20]) or "none"}{" ..." if len(known) > 20 else ""}.'
  )


def _class_names(directory: str) -> tuple[str, ...]:
  names = []
  with os.scandir(directory) as found:
    entries = list(found)
  for entry in entries:
    if entry.is_dir():
      if not entry.name.startswith('.'):
        names.append(entry.name)
    elif entry.name.lower().endswith(EXTENSIONS) and not entry.name.startswith('.'):
      raise UserError(f'{entry.path}: an image outside a class folder; expected SPLIT/CLASS/image')
  if not names:
    raise UserError(f'{directory} has no class folders; expected SPLIT/CLASS/image')
  if len(names) == 1:
    raise UserError(f'{directory} has one class, {names[0]!r}; a classifier needs at least 2')
  return tuple(sorted(names))


def _images(directory: str) -> Iterator[str]:
  for parent, folders, files in os.walk(directory, followlinks=True):
    folders[:] = sorted(name for name in folders if not name.startswith('.'))
    for name in sorted(files):
      if name.startswith('.') or name.lower() in _IGNORED:
        continue
      if not name.lower().endswith(EXTENSIONS):
        raise UserError(
          f'{os.path.join(parent, name)}: not an image that can be read; '
          f'known extensions: {", ".join(EXTENSIONS)}'
        )
      yield os.path.join(parent, name)


def _raise_different(train: FolderSplit, evaluation: FolderSplit):
  only_train = sorted(set(train.class_names) - set(evaluation.class_names))
  only_eval = sorted(set(evaluation.class_names) - set(train.class_names))
  parts = [
    f'only in {split.directory}: {", ".join(names[:5])}{" ..." if len(names) > 5 else ""}'
    for split, names in ((train, only_train), (evaluation, only_eval))
    if names
  ]
  raise UserError(f'the two splits have different classes; {"; ".join(parts)}')
