"""Classes by number or name, and folders of pictures by class."""

import os
from collections.abc import Sequence

from ecanet_jax.data.label_names import names_as_wnids
from ecanet_jax.inference.find_images import find_images
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, closest

SOME = 4  # classes that are drawn if none is asked for


def class_number(word: str, names: Sequence[str]) -> int:
  """The number of a class that is named by its number, its name or its WordNet id.

  Raises:
    UserError: there is no such class.
  """
  for known in (names, names_as_wnids(names)):
    for each in (word, word.replace('_', ' ')):
      if each in known:
        return list(known).index(each)
  if word.isdigit() and int(word) < len(names):
    return int(word)
  raise UserError(
    f'no class {word!r}.{closest(word, names)} Classes: 0 to {len(names) - 1}, or their names.'
  )


def choose_classes(asked: str, names: Sequence[str]) -> list[int]:
  """The numbers of the classes in a list with commas; `SOME` evenly spaced ones if it is empty."""
  if not asked:
    step = max(len(names) // SOME, 1)
    return list(range(0, len(names), step))[:SOME]
  if asked in names:  # the name has a comma
    return [names.index(asked)]
  return [class_number(word.strip(), names) for word in asked.split(',') if word.strip()]


def subfolders(folder: str | os.PathLike) -> tuple[str, ...]:
  """The names of a folder's subfolders, sorted, without hidden ones.

  Raises:
    UserError: there is no such folder.
  """
  path = paths.to_path(folder)
  with paths.answers(path):
    if not path.is_dir():
      raise UserError(f'{folder}: no such folder.')
    inside = sorted(each.name for each in path.iterdir() if each.is_dir())
  return tuple(name for name in inside if not name.startswith('.'))


def labelled_pictures(
  folder: str | os.PathLike, names: Sequence[str]
) -> tuple[list[str], list[int]]:
  """The pictures in a folder's subfolders, and the class that each subfolder is named after.

  Args:
    folder: with a subfolder for each class, or for some of them. Pictures beside the subfolders
      have no label and are left out.
    names: of all classes.

  Raises:
    UserError: there is no such folder, it has no subfolder, or one is named after no class.
  """
  path, inside = paths.to_path(folder), subfolders(folder)
  if not inside:
    raise UserError(
      f'{folder} has no labels: put the pictures of each class into a folder of its name, such as '
      f'{path / (names[0] if names else "cat")}.'
    )
  found, labels = [], []
  for name in inside:
    try:
      label = class_number(name, names)
    except UserError as error:
      raise UserError(f'{path / name}: {error}') from error
    pictures = find_images([str(path / name)])
    found += pictures
    labels += [label] * len(pictures)
  return found, labels
