"""Images held out for evaluation from a folder without splits, and the file that records them.

The file is a CSV with the columns path, label and split (train or val). The first start of a
training writes it; later starts and evaluations read it, so that the same images stay held out
when images are added or removed.
"""

import csv
import hashlib
import io
from collections.abc import Sequence

import numpy as np

from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.log import log

FILE = 'split.csv'  # in the workdir
COLUMNS = ['path', 'label', 'split']
TRAIN, VAL = 'train', 'val'
# Folders of these names are splits, not classes.
SPLITS = ('train', 'training', 'val', 'valid', 'validation', 'eval', 'test', 'testing')
SHOWN = 3  # names in a message


def undivided(
  root: paths.Path, folders: Sequence[str], train_split: str, eval_split: str
) -> paths.Path:
  """The folder whose classes have to be divided: `root`, or its training split.

  Args:
    root: the folder of the data set.
    folders: the names of the folders in it, which are not both splits.
    train_split: name of the folder of the training images.
    eval_split: name of the folder of the evaluation images.

  Raises:
    UserError: class folders beside splits, or splits of other names.
  """
  if list(folders) == [train_split]:
    return root / train_split
  splits = [name for name in folders if name.lower() in {*SPLITS, train_split, eval_split}]
  if not splits:
    return root
  if classes := [name for name in folders if name not in splits]:
    raise UserError(
      f'{root} has the folder {splits[0]!r} beside {_listed(classes)}; give a folder that has only '
      f'class folders, or only {train_split} and {eval_split}.'
    )
  train = next((name for name in splits if 'train' in name.lower()), splits[0])
  others = [name for name in splits if name != train]
  flags = [f'--config.data.train_split={train}'] + [
    f'--config.data.eval_split={name}' for name in others[:1]
  ]
  raise UserError(
    f'{root} has {_listed(splits)} instead of {train_split} and {eval_split}; give '
    f'{" ".join(flags)}'
  )


def divide(
  root: paths.Path, directory: paths.Path, names: Sequence[str], labels: np.ndarray,
  class_names: Sequence[str], share: float, seed: int, record: 'paths.Path | None',
) -> tuple[np.ndarray, bool]:
  """Divides the images of a folder as recorded, or anew.

  The log has a line if images were added or removed since they were recorded.

  Args:
    root: the folder of the data set.
    directory: the folder of the classes: `root`, or one in it.
    names: of the images, below `root`.
    labels: their classes, [n].
    class_names: of all classes.
    share: data.eval_share.
    seed: of the choice.
    record: the file of `write`, which may be missing.

  Returns:
    bool [n], True for the images that are held out; and whether they were chosen anew.

  Raises:
    UserError: a class with one image, a damaged record, or one of other images.
  """
  recorded = read(record) if record else None
  if recorded is None:
    for name, count in zip(class_names, np.bincount(labels), strict=True):
      if count < 2:
        raise UserError(
          f'{directory / name} has one image; data.eval_share={share} needs two of each class, one '
          'to train on and one to evaluate.'
        )
    return choose(names, labels, share, seed), True
  held_out = np.array([recorded.get(name, False) for name in names])
  if not held_out.any():
    raise UserError(
      f'{record}: none of its evaluation images is in {root}. To evaluate all images of another '
      f'folder: --config.data.data_dir={root.parent} --config.data.eval_split={root.name}'
    )
  new, gone = [name for name in names if name not in recorded], sorted({*recorded} - {*names})
  if new:
    log.info(
      '%s: %d images of %s are not in it; they are training images: %s',
      record, len(new), root, _listed(new),
    )
  if gone:
    log.warning('%s: %d of its images are not in %s: %s', record, len(gone), root, _listed(gone))
  return held_out, False


def _listed(names: Sequence[str]) -> str:
  return ', '.join(names[:SHOWN]) + (' ...' if len(names) > SHOWN else '')


def choose(names: Sequence[str], labels: np.ndarray, share: float, seed: int) -> np.ndarray:
  """Chooses the images to hold out: a share of each class, at least one.

  The choice is the order of SHA-256 sums of seed and name. It does not depend on other classes.

  Args:
    names: of the images, below the folder, such as 'cat/1.jpg'.
    labels: their classes, [n]. Every class needs two images.
    share: of each class, above 0 and below 1.
    seed: of the choice.

  Returns:
    bool [n]: True for the images that are held out.
  """
  chosen = np.zeros(len(names), bool)
  key = lambda i: hashlib.sha256(f'{seed}/{names[i]}'.encode(errors='surrogateescape')).digest()
  for label in np.unique(labels):
    images = sorted(np.flatnonzero(labels == label), key=key)
    count = min(max(round(share * len(images)), 1), len(images) - 1)
    chosen[images[:count]] = True
  return chosen


def write(
  path: paths.Path, names: Sequence[str], labels: Sequence[str], chosen: np.ndarray
) -> None:
  """Writes the CSV file, and a line to the log.

  Args:
    path: of the file.
    names: of the images, below the folder.
    labels: the names of their classes.
    chosen: bool, of `choose`.
  """
  text = io.StringIO()
  rows = zip(names, labels, (VAL if held else TRAIN for held in chosen), strict=True)
  csv.writer(text, lineterminator='\n').writerows([COLUMNS, *rows])
  paths.write_whole(path, text.getvalue().encode(errors='surrogateescape'))
  log.info('%s: %d of %d images are held out for evaluation', path, chosen.sum(), len(names))


def read(path: paths.Path) -> dict[str, bool] | None:
  """The recorded images, each with whether it is held out; None if there is no file.

  Raises:
    UserError: the file is not one of `write`.
  """
  try:
    with paths.answers(path):
      text = path.read_bytes().decode(errors='surrogateescape')
  except FileNotFoundError:
    return None
  header, *rows = [row for row in csv.reader(io.StringIO(text, newline='')) if row] or [[]]
  if header != COLUMNS or any(len(row) != 3 or row[2] not in (TRAIN, VAL) for row in rows):
    raise UserError(
      f'{path} has not the columns {",".join(COLUMNS)} with the splits {TRAIN} and {VAL}; restore '
      'it from a backup, or give another --workdir.'
    )
  return {name: split == VAL for name, _, split in rows}
