"""Images in folders: DATA_DIR/SPLIT/CLASS/*.jpg. The class names are the sorted folder names.

With data.eval_share, DATA_DIR may have the class folders alone, or the training split alone. A
share of each class is then held out for evaluation (holdout.py). Nothing is moved or copied.

Every file in a class folder, at any depth, is an image. A file of another kind is an error, not
something to skip. Hidden files (.name, Thumbs.db, desktop.ini) are ignored.

The folders are listed once, when the data set is opened. In a bucket (gs://) TensorFlow reads the
images. Before training every file of a split of up to 20,000 is decoded; more unreadable files than
data.max_bad allows are an error.
"""

import concurrent.futures
import copy
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ecanet_jax.data.image_files import EXTENSIONS
from ecanet_jax.data.labels import count_labels
from ecanet_jax.data.sources import holdout
from ecanet_jax.data.tfdata import decode, pipeline
from ecanet_jax.data.tfdata.corrupt_images import allowed_count, error_text
from ecanet_jax.data.tfdata.tf_import import tensorflow
from ecanet_jax.data.types import Batch, DatasetInfo, Shard, Source, Split
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, closest

tf = tensorflow()

CHECKED = 20_000  # files; a larger split is checked only while it is read
LISTERS = 32  # classes that are listed at the same time: a bucket takes a while to answer
_IGNORED = ('thumbs.db', 'desktop.ini')


class FolderSplit:
  """The files of one split; see `pipeline.IndexedSplit`."""

  def __init__(self, directory: paths.Path):
    self.directory = directory
    with concurrent.futures.ThreadPoolExecutor(LISTERS) as pool, paths.answers(directory):
      self.class_names = _class_names(directory, pool.map)
      folders = [str(directory / name) for name in self.class_names]
      by_class = list(pool.map(lambda folder: list(_images(folder)), folders))
    files, labels = [], []
    for label, (folder, found) in enumerate(zip(folders, by_class, strict=True)):
      if not found:
        raise UserError(f'{folder}: a class folder without any image')
      files += found
      labels += [label] * len(found)
    self.paths = np.array([os.fsencode(path) for path in files], object)
    self.labels = np.array(labels, np.int32)

  def __len__(self) -> int:
    return len(self.labels)

  def names(self, root: paths.Path) -> list[str]:
    """The paths of the images below a folder, such as 'cat/1.jpg'."""
    return [os.fsdecode(path).removeprefix(f'{root}/') for path in self.paths]

  def part(self, chosen: np.ndarray) -> 'FolderSplit':
    """The images for which `chosen`, bool [n], is True."""
    part = copy.copy(self)
    part.paths, part.labels = self.paths[chosen], self.labels[chosen]
    return part

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
  """A training and an evaluation folder with the same classes, or one folder that is divided."""

  def __init__(self, config, workdir: 'paths.Path | None' = None):
    """Lists the folders.

    Args:
      config: the whole config.
      workdir: of a training, which may have recorded how it divided the folder.

    Raises:
      UserError: folders that are missing, empty, or do not agree.
    """
    data = self._data = config.data
    self._config = config
    if not data.data_dir:
      raise UserError("data.source='folder' needs data.data_dir, the folder that holds the splits")
    self._root, self._whole, drawn = paths.to_path(data.data_dir), None, False
    if directory := self._undivided():
      whole = self._whole = FolderSplit(directory)
      self._held_out, drawn = holdout.divide(
        self._root, directory, whole.names(self._root), whole.labels, whole.class_names,
        data.eval_share, config.seed, workdir and workdir / holdout.FILE,
      )
      self._train, self._eval = whole.part(~self._held_out), whole.part(self._held_out)
    else:
      self._open_splits()
    names = self._train.class_names
    self.info = DatasetInfo(
      train=Split(data.train_split, len(self._train), len(names)),
      eval=Split(data.eval_split, len(self._eval), len(names)),
      num_classes=len(names),
      label_names=names,
      index_addressable=True,
      drawn=drawn,
    )

  def _undivided(self) -> 'paths.Path | None':
    """The folder of the classes, if the images are not in two splits."""
    data = self._data
    splits = data.train_split, data.eval_split
    with paths.answers(self._root):
      divided = all((self._root / split).is_dir() for split in splits)
      if not data.eval_share or divided or not self._root.is_dir():
        return None
      found = _entries(str(self._root))
    folders = [os.path.basename(path) for path, is_folder in found if is_folder]
    return holdout.undivided(self._root, folders, *splits)

  def _open_splits(self) -> None:
    root, data = self._root, self._data
    self._train = FolderSplit(_split_directory(root, data.train_split, 'data.train_split'))
    if data.eval_split == data.train_split:
      self._eval = self._train
    else:
      self._eval = FolderSplit(_split_directory(root, data.eval_split, 'data.eval_split'))
    if self._train.class_names != self._eval.class_names:
      _raise_different(self._train, self._eval)

  def record(self, workdir: paths.Path) -> None:
    """Writes which images of a folder without splits are held out, if that is not recorded."""
    if self.info.drawn:
      whole = self._whole
      labels = [whole.class_names[label] for label in whole.labels]
      holdout.write(workdir / holdout.FILE, whole.names(self._root), labels, self._held_out)

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


def _split_directory(root: paths.Path, split: str, key: str) -> paths.Path:
  with paths.answers(root):
    if (root / split).is_dir():
      return root / split
    if not root.is_dir():
      raise UserError(f'data.data_dir={str(root)!r} is not a folder')
    known = sorted(path.name for path in root.iterdir() if path.is_dir())
  raise UserError(
    f'{root} has no folder {split!r} for {key}.{closest(split, known)} '
    f'Folders: {", ".join(known[:20]) or "none"}{" ..." if len(known) > 20 else ""}.'
  )


def _class_names(directory: paths.Path, each: Callable) -> tuple[str, ...]:
  names = []
  for path, is_folder in _entries(str(directory), each):
    if is_folder:
      names.append(os.path.basename(path))
    elif path.lower().endswith(EXTENSIONS):
      raise UserError(f'{path}: an image outside a class folder; expected SPLIT/CLASS/image')
  if not names:
    raise UserError(f'{directory} has no class folders; expected SPLIT/CLASS/image')
  if len(names) == 1:
    raise UserError(f'{directory} has one class, {names[0]!r}; a classifier needs at least 2')
  return tuple(names)


def _images(directory: str) -> Iterator[str]:
  """The images of a folder at any depth: its own ones first, then those of its folders."""
  entries = _entries(directory)
  for path, is_folder in entries:
    if is_folder or os.path.basename(path).lower() in _IGNORED:
      continue
    if not path.lower().endswith(EXTENSIONS):
      raise UserError(
        f'{path}: not an image that can be read; known extensions: {", ".join(EXTENSIONS)}'
      )
    yield path
  for path, is_folder in entries:
    if is_folder:
      yield from _images(path)


def _entries(directory: str, each: Callable = map) -> list[tuple[str, bool]]:
  """What a folder holds, sorted, without hidden names: paths, and whether they are folders.

  Args:
    directory: a local folder, or one in a bucket.
    each: `map`, or a thread pool's. A bucket is asked about every name that is not an image's.
  """
  if not paths.is_remote(directory):
    with os.scandir(directory) as found:
      return sorted((entry.path, entry.is_dir()) for entry in found if entry.name[0] != '.')
  found = sorted(str(path) for path in paths.to_path(directory).iterdir() if path.name[0] != '.')
  is_folder = lambda path: not path.lower().endswith(EXTENSIONS) and paths.to_path(path).is_dir()
  return list(zip(found, each(is_folder, found), strict=True))


def _raise_different(train: FolderSplit, evaluation: FolderSplit):
  only_train = sorted(set(train.class_names) - set(evaluation.class_names))
  only_eval = sorted(set(evaluation.class_names) - set(train.class_names))
  parts = [
    f'only in {split.directory}: {", ".join(names[:5])}{" ..." if len(names) > 5 else ""}'
    for split, names in ((train, only_train), (evaluation, only_eval))
    if names
  ]
  raise UserError(f'the two splits have different classes; {"; ".join(parts)}')
