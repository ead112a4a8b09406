"""Images in folders: DATA_DIR/SPLIT/CLASS/*.jpg. The class names are the sorted folder names.

With data.eval_share, DATA_DIR may have the class folders alone, or the training split alone. A
share of each class is then held out for evaluation (holdout.py). Nothing is moved or copied.

Every file in a class folder, at any depth, is an image. A file of another kind is an error, not
something to skip. Hidden files (.name, Thumbs.db, desktop.ini) are ignored.

An image has one class; for images with several labels there is data.source=csv (image_csv.py).

The folders are listed once, when the data set is opened. Before the training their images are
decoded (files.py).
"""

import concurrent.futures
import os
from collections.abc import Callable, Iterator

import numpy as np

from ecanet_jax.data.image_files import EXTENSIONS, KNOWN
from ecanet_jax.data.sources import holdout
from ecanet_jax.data.sources.files import REQUESTS, FileSource, FileSplit
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, closest

_IGNORED = ('thumbs.db', 'desktop.ini')


class FolderSplit(FileSplit):
  """The class folders of one split."""

  def __init__(self, directory: paths.Path, allow_empty: bool = False):
    """Lists the folders.

    Args:
      directory: that of the class folders.
      allow_empty: a class may be without images, but not all of them.

    Raises:
      UserError: a class folder without images, or a file that is no image.
    """
    with concurrent.futures.ThreadPoolExecutor(REQUESTS) as pool, paths.answers(directory):
      self.class_names = _class_names(directory, pool.map)
      folders = [str(directory / name) for name in self.class_names]
      by_class = list(pool.map(lambda folder: list(_images(folder)), folders))
    empty = [folder for folder, found in zip(folders, by_class, strict=True) if not found]
    if empty and (not allow_empty or len(empty) == len(folders)):
      more = f', and {len(empty) - 1} more' if empty[1:] else ''
      raise UserError(
        f'{empty[0]}: a class folder without any image{more}. Remove it, or set '
        '--config.data.allow_empty_classes=True.'
      )
    files, labels = [], []
    for label, found in enumerate(by_class):
      files += found
      labels += [label] * len(found)
    super().__init__(directory, files, np.array(labels, np.int32))


class ImageFolderSource(FileSource):
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
    if not data.data_dir:
      raise UserError("data.source='folder' needs data.data_dir, the folder that holds the splits")
    self._root, self._whole, drawn = paths.to_path(data.data_dir), None, False
    if directory := self._undivided():
      whole = self._whole = FolderSplit(directory, data.allow_empty_classes)
      self._held_out, drawn = holdout.divide(
        self._root, directory, whole.names(self._root), whole.labels, whole.class_names,
        data.eval_share, config.seed, workdir and workdir / holdout.FILE,
      )
      train, evaluation = whole.part(~self._held_out), whole.part(self._held_out)
    else:
      train, evaluation = self._splits()
    super().__init__(config, train, evaluation, train.class_names, drawn=drawn)

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

  def _splits(self) -> tuple[FolderSplit, FolderSplit]:
    root, data = self._root, self._data
    allow_empty = data.allow_empty_classes
    train = FolderSplit(_split_directory(root, data.train_split, 'data.train_split'), allow_empty)
    if data.eval_split == data.train_split:
      return train, train
    evaluation = FolderSplit(
      _split_directory(root, data.eval_split, 'data.eval_split'), allow_empty
    )
    if train.class_names != evaluation.class_names:
      _raise_different(train, evaluation)
    return train, evaluation

  def record(self, workdir: paths.Path) -> None:
    """Writes which images of a folder without splits are held out, if that is not recorded."""
    if self.info.drawn:
      whole = self._whole
      labels = [whole.class_names[label] for label in whole.labels]
      holdout.write(workdir / holdout.FILE, whole.names(self._root), labels, self._held_out)


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


def _images(directory: str, above: tuple[str, ...] = ()) -> Iterator[str]:
  """The images of a folder at any depth: its own ones first, then those of its folders.

  Args:
    directory: the folder.
    above: the real paths of the folders that led to it, to find a link that leads back.
  """
  remote = paths.is_remote(directory)
  real = directory if remote else os.path.realpath(directory)
  if any(f'{folder}/'.startswith(f'{real}/') for folder in above):
    raise UserError(f'{directory}: the link leads back to {real}, a folder above it; remove it')
  entries = _entries(directory)
  for path, is_folder in entries:
    if is_folder or os.path.basename(path).lower() in _IGNORED:
      continue
    if not path.lower().endswith(EXTENSIONS):
      raise UserError(f'{path}: not an image that can be read; {KNOWN}')
    yield path
  for path, is_folder in entries:
    if is_folder:
      yield from _images(path, (*above, real))


def _entries(directory: str, each: Callable = map) -> list[tuple[str, bool]]:
  """What a folder holds, sorted, without hidden names: paths, and whether they are folders.

  Args:
    directory: a local folder, or one in a bucket.
    each: `map`, or a thread pool's. A bucket is asked about every name that is not an image's.
  """
  if not paths.is_remote(directory):
    try:
      with os.scandir(directory) as found:
        return sorted(_local(entry) for entry in found if entry.name[0] != '.')
    except OSError as error:
      raise UserError(f'{directory}: the folder cannot be read: {error.strerror}') from error
  found = sorted(str(path) for path in paths.to_path(directory).iterdir() if path.name[0] != '.')
  is_folder = lambda path: not path.lower().endswith(EXTENSIONS) and paths.to_path(path).is_dir()
  return list(zip(found, each(is_folder, found), strict=True))


def _local(entry: os.DirEntry) -> tuple[str, bool]:
  """The path of a local file or folder, and whether it is a folder."""
  is_folder = entry.is_dir()
  if not is_folder and not entry.is_file():
    what = 'a link that leads nowhere' if entry.is_symlink() else 'neither a file nor a folder'
    raise UserError(f'{entry.path}: {what}; remove it')
  return entry.path, is_folder


def _raise_different(train: FolderSplit, evaluation: FolderSplit):
  only_train = sorted(set(train.class_names) - set(evaluation.class_names))
  only_eval = sorted(set(evaluation.class_names) - set(train.class_names))
  parts = [
    f'only in {split.origin}: {", ".join(names[:5])}{" ..." if len(names) > 5 else ""}'
    for split, names in ((train, only_train), (evaluation, only_eval))
    if names
  ]
  raise UserError(f'the two splits have different classes; {"; ".join(parts)}')
