"""Images and labels from a CSV file with the header path,label or path,label,split.

    path,label,split
    birds/1.jpg,wren,train
    birds/2.jpg,robin,val

Paths are relative to data.data_dir, or to the folder of the CSV file if that is ''. They can also
be absolute, or in a bucket. Other columns are ignored.

- With data.csv=FILE, data.train_split and data.eval_split are values of the column split. Rows of
  other splits (`SPLITS`) are not used.
- With data.csv='', they are CSV files themselves, and a column split is ignored.
- With data.label_separator='|', a label is any number of class names: wren|robin. An empty one
  means that no class is on the image. Labels are bool [classes].

The class names are the sorted labels of all rows, or the lines of data.class_file in their order.
The files are read once, when the data set is opened. Every image that is used must be there; before
the training the images are decoded (files.py).
"""

import concurrent.futures
import csv
import io
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ecanet_jax.data.image_files import EXTENSIONS, KNOWN
from ecanet_jax.data.sources.files import REQUESTS, FileSource, FileSplit
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, closest
from ecanet_jax.runtime.log import log

SPLITS = ('train', 'val', 'validation', 'test')  # beside those that the config names
SHOWN = 5  # names in a message
_KEYS = ('data.train_split', 'data.eval_split')
_MORE = object()  # key of the fields that have no column


class Row(NamedTuple):
  """One image.

  Attributes:
    place: FILE:LINE, for messages.
    path: of the image, without relative parts.
    labels: names of its classes.
    split: of the column split; '' without one.
  """

  place: str
  path: str
  labels: tuple[str, ...]
  split: str


class ImageCsvSource(FileSource):
  """The training and evaluation rows of one CSV file, or of two."""

  def __init__(self, config):
    """Reads the files.

    Raises:
      UserError: the file and line of a row that cannot be used, a split without rows, or classes
        that do not fit.
    """
    data = config.data
    splits = data.train_split, data.eval_split
    if data.csv:
      rows = _read(paths.to_path(data.csv), data, by_split=True)
      chosen = [_of_split(rows, name, data.csv) for name in splits]
    else:
      chosen = [_read(_split_file(name, key), data) for name, key in zip(splits, _KEYS)]
      rows = [row for part in chosen for row in part]
    _check_duplicates(rows, data.label_separator)
    used = [*chosen[0], *(chosen[1] if splits[0] != splits[1] else ())]
    _check_files(used)
    names = _class_names(rows, data.class_file)
    train, evaluation = (
      FileSplit(
        paths.to_path(data.csv or split), [row.path for row in part],
        _labels(part, names, bool(data.label_separator)),
      )
      for split, part in zip(splits, chosen)
    )
    if splits[0] != splits[1]:
      _check_learnable(names, chosen, data.class_file)
    super().__init__(config, train, evaluation, names, multi_label=bool(data.label_separator))


def _split_file(name: str, key: str) -> paths.Path:
  if not name.lower().endswith('.csv'):
    raise UserError(
      f'{key}={name!r} is no CSV file: give --config.{key}=FILE.csv, or for one file with a column '
      'split --config.data.csv=FILE.csv'
    )
  return paths.to_path(name)


def _read(file: paths.Path, data, by_split: bool = False) -> list[Row]:
  """The rows of a file; with `by_split` its column split is read."""
  try:
    with paths.answers(file):
      text = file.read_text(encoding='utf-8-sig')
  except (OSError, UnicodeDecodeError) as error:
    reason = getattr(error, 'strerror', None) or 'it is not UTF-8'
    raise UserError(f'{file}: the CSV file cannot be read: {reason}') from None
  columns = ['path', 'label', *(['split'] if by_split else [])]
  root = paths.to_path(data.data_dir) if data.data_dir else file.parent
  reader = csv.DictReader(io.StringIO(text, newline=''), restkey=_MORE, strict=True)
  rows = []
  try:
    header = reader.fieldnames or []
    for column in columns:
      if column not in header:
        near = closest(column, header) or f' It has: {", ".join(header) or "nothing"}.'
        raise UserError(f'{file}:1: the header has no column {column!r}.{near}')
    for line in reader:
      place = f'{file}:{reader.line_num}'
      if _MORE in line or None in line.values():
        raise UserError(f'{place}: the row has not {len(header)} fields as the header')
      labels = _split_label(line['label'].strip(), data.label_separator, place)
      split = line['split'].strip() if by_split else ''
      if by_split and split not in (known := {*SPLITS, data.train_split, data.eval_split}):
        raise UserError(
          f'{place}: unknown split {split!r}.{closest(split, known)} Known: '
          f'{", ".join(sorted(known))}.'
        )
      rows.append(Row(place, _path(root, line['path'], place), labels, split))
  except csv.Error as error:
    raise UserError(f'{file}:{reader.line_num}: {error}') from None
  if not rows:
    raise UserError(f'{file} has no rows')
  return rows


def _split_label(label: str, separator: str, place: str) -> tuple[str, ...]:
  if not separator:
    if not label:
      raise UserError(f'{place}: the label is empty')
    return (label,)
  labels = tuple(name.strip() for name in label.split(separator)) if label else ()
  if '' in labels:
    raise UserError(f'{place}: one of the labels {label!r} is empty')
  return labels


def _path(root: paths.Path, path: str, place: str) -> str:
  if not path.lower().endswith(EXTENSIONS):
    raise UserError(
      f'{place}: {path!r} is not an image that can be read; {KNOWN}'
    )
  if paths.is_remote(path):
    return path
  if paths.is_remote(root):
    return f'{root}/{os.path.normpath(path)}'
  return os.path.normpath(root / path)


def _of_split(rows: Sequence[Row], name: str, file: str) -> list[Row]:
  found = [row for row in rows if row.split == name]
  if not found:
    known = sorted({row.split for row in rows})
    raise UserError(
      f'{file} has no row with the split {name!r}.{closest(name, known)} Splits: '
      f'{", ".join(known)}; set --config.data.train_split and --config.data.eval_split.'
    )
  return found


def _check_duplicates(rows: Sequence[Row], separator: str) -> None:
  """Refuses an image with different labels; warns of images in several splits."""
  advice = (
    f'write all labels of an image in one row, with {separator!r} between them' if separator else
    "for several labels per image set --config.data.label_separator='|'"
  )
  first: dict[str, Row] = {}
  shared = set()
  for row in rows:
    other = first.setdefault(row.path, row)
    if set(other.labels) != set(row.labels):
      raise UserError(
        f'{row.place}: {row.path} has the label {"|".join(row.labels)!r}, and '
        f'{"|".join(other.labels)!r} in {other.place}; {advice}'
      )
    if (other.split, _file(other)) != (row.split, _file(row)):
      shared.add(row.path)
  if shared:
    log.warning('%d images are in several splits, %s first', len(shared), min(shared))


def _file(row: Row) -> str:
  return row.place.rpartition(':')[0]


def _check_files(rows: Sequence[Row]) -> None:
  def missing(row: Row) -> bool:
    if not paths.is_remote(row.path):
      return not os.path.isfile(row.path)
    with paths.answers(row.path):
      return not paths.to_path(row.path).exists()

  with concurrent.futures.ThreadPoolExecutor(REQUESTS) as pool:
    found = [row for row, is_missing in zip(rows, pool.map(missing, rows)) if is_missing]
  if found:
    more = f'; the files of {len(found) - 1} more rows are missing, too' if found[1:] else ''
    raise UserError(f'{found[0].place}: no file {found[0].path}{more}')


def _class_names(rows: Sequence[Row], class_file: str) -> tuple[str, ...]:
  """The lines of `class_file`, or the sorted labels."""
  labels = {label for row in rows for label in row.labels}
  if class_file:
    try:
      with paths.answers(class_file):
        text = paths.to_path(class_file).read_text(encoding='utf-8-sig')
    except OSError as error:
      raise UserError(f'data.class_file={class_file} cannot be read: {error.strerror}') from None
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if twice := [name for name in names if names.count(name) > 1]:
      raise UserError(f'data.class_file={class_file} has the class {twice[0]!r} twice')
    known = set(names)
    for row in rows:
      for label in row.labels:
        if label not in known:
          raise UserError(
            f'{row.place}: the label {label!r} is not in data.class_file={class_file}.'
            f'{closest(label, names)}'
          )
  else:
    names = sorted(labels)
  if len(names) < 2:
    raise UserError(
      f'{_file(rows[0])} has {len(names)} class{"es" if not names else ""}, '
      f'{", ".join(map(repr, names)) or "as all labels are empty"}; a classifier needs at least 2'
    )
  return tuple(names)


def _labels(rows: Sequence[Row], names: Sequence[str], several: bool) -> np.ndarray:
  """The labels of the rows: int32 [n], or with several per image bool [n, classes]."""
  number = {name: index for index, name in enumerate(names)}
  if not several:
    return np.array([number[row.labels[0]] for row in rows], np.int32)
  hot = np.zeros((len(rows), len(names)), bool)
  for flags, row in zip(hot, rows):
    flags[[number[label] for label in row.labels]] = True
  return hot


def _check_learnable(
  names: Sequence[str], chosen: Sequence[Sequence[Row]], class_file: str
) -> None:
  """Refuses a class that only evaluation has, if it may be a misspelt one; else a warning."""
  trained, evaluated = ({label for row in part for label in row.labels} for part in chosen)
  without = [name for name in names if name not in trained]
  if only := [name for name in without if name in evaluated and not class_file]:
    row = next(row for row in chosen[1] if only[0] in row.labels)
    raise UserError(
      f'{row.place}: no training image has the label {only[0]!r}.{closest(only[0], trained)} If it '
      'is right, list all classes in data.class_file.'
    )
  if without:
    log.warning('%d of %d classes have no training image: %s', len(without), len(names),
                _listed(without))


def _listed(names: Sequence[str]) -> str:
  return ', '.join(names[:SHOWN]) + (' ...' if names[SHOWN:] else '')
