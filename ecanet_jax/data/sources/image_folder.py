"""Images in folders: DATA_DIR/SPLIT/CLASS/*.jpg. Classes are the sorted names of the folders.

Every file in a class folder, at any depth, is an image; a file that cannot be one is an error, not
something to skip. Hidden files (.name, Thumbs.db, desktop.ini) are ignored.
A training first decodes every file of a folder of up to 20,000 and names those that it cannot, if
they are more than data.max_bad allows.
"""

import concurrent.futures
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from ecanet_jax.data.types import Batch, DatasetInfo, Shard, Split, count_labels, require_square
from ecanet_jax.runtime.errors import UserError, closest

EXTENSIONS = ('.jpg', '.jpeg', '.jpe', '.png', '.gif', '.bmp', '.webp')
CHECKED = 20_000  # a folder with more files is checked while it is read
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

  def check(self, allowed: int = 0) -> None:
    """Decodes every image.

    Raises:
      UserError: more than `allowed` cannot be read or decoded; the text counts them and names the
        first five.
    """
    from ecanet_jax.data.tfdata import decode, pipeline

    tf = decode.tf
    size = tf.function(
      lambda path: tf.size(decode.decode(self.read(path))),
      input_signature=[tf.TensorSpec([], tf.string)], autograph=False,
    ).get_concrete_function()

    def mistake(path: bytes) -> str:
      try:
        size(tf.constant(path))
      except tf.errors.OpError as error:
        return f'{os.fsdecode(path)} ({pipeline.reason(error)})'
      return ''

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
      found = [text for text in pool.map(mistake, self.paths) if text]
    if len(found) > allowed:
      more = f'; and {len(found) - 5} more' if len(found) > 5 else ''
      raise UserError(
        f'{self.directory}: {len(found)} of {len(self):,} files cannot be read as images: '
        f'{"; ".join(found[:5])}{more}'
      )

  def read(self, data):
    """Returns the bytes of the file with the path `data`."""
    from ecanet_jax.data.tfdata.tf_import import tensorflow

    return tensorflow().io.read_file(data)


class FolderSource:
  """A training and an evaluation folder with the same classes."""

  def __init__(self, config):
    require_square(config)
    self._config = config
    root = os.path.expanduser(config.data.data_dir)
    if not root:
      raise UserError("data.source='folder' needs data.data_dir, the folder that holds the splits")
    self._train = FolderSplit(_split_directory(root, config.data.train_split, 'data.train_split'))
    self._eval = FolderSplit(_split_directory(root, config.data.eval_split, 'data.eval_split'))
    names = self._train.class_names
    if names != self._eval.class_names:
      _raise_different(self._train, self._eval)
    self.info = DatasetInfo(
      train=Split(config.data.train_split, len(self._train), len(names)),
      eval=Split(config.data.eval_split, len(self._eval), len(names)),
      num_classes=len(names),
      label_names=names,
      index_addressable=True,
    )

  def check(self) -> None:
    """Decodes every image of both splits that are not too large; see `FolderSplit.check`.

    Of the training split some may be broken (data.max_bad): they are replaced when they are met.
    """
    from ecanet_jax.data.tfdata.corrupt_images import allowed

    some = allowed(self._config.data.max_bad, len(self._train))
    for split, number in ((self._train, some), (self._eval, 0)):
      if len(split) <= CHECKED:
        split.check(number)

  def train_batches(self, start_step: int, steps: int | None, shard: Shard) -> Iterator[Batch]:
    """Yields this host's rows of `steps` training batches from `start_step` on; None = endless."""
    from ecanet_jax.data.tfdata import pipeline

    return pipeline.indexed_train(self._config, self._train, start_step, steps, shard)

  def label_counts(self) -> np.ndarray:
    """Returns how many training images every class has, int64 [classes]."""
    return count_labels(self._train.labels, self.info.num_classes)

  def eval_batches(self, rows: int, shard: Shard, crops: int = 1) -> Iterator[Batch]:
    """Yields this host's part of the evaluation split once; the last batch may be short."""
    from ecanet_jax.data.tfdata import pipeline

    return pipeline.indexed_eval(self._config, self._eval, rows, shard, crops)


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
