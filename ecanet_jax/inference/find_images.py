"""Finds the pictures that a command line names: files, folders and patterns."""

import glob
from collections.abc import Iterable

from ecanet_jax.data.image_files import EXTENSIONS, KNOWN
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError


def find_images(names: Iterable[str]) -> list[str]:
  """Returns the paths of pictures, each once, in the order of the names.

  Args:
    names: a file, whatever its ending; a folder, of which all pictures at any depth are taken,
      sorted; or a pattern such as 'photos/*.jpg' or 'photos/**/*.jpg'. Local or gs://.

  Raises:
    UserError: a name stands for nothing.
  """
  found: dict[str, None] = {}
  for name in names:
    with paths.answers(name):
      found |= dict.fromkeys(_pictures(name))
  return list(found)


def _pictures(name: str) -> list[str]:
  path = paths.to_path(name)
  if path.is_dir():
    if inside := _inside(path):
      return inside
    raise UserError(f'{name}: no picture in this folder; {KNOWN}.')
  if path.exists():
    return [str(path)]
  if not glob.has_magic(name):
    raise UserError(f'{name}: no such file or folder.')
  matches = [paths.to_path(match) for match in _match(path)]
  found = [file for each in matches for file in (_inside(each) if each.is_dir() else [str(each)])]
  if not found:
    raise UserError(f'{name}: no picture matches this pattern.')
  return found


def _inside(folder: paths.Path) -> list[str]:
  return [str(file) for file in paths.files_below(folder) if _is_picture(file, folder)]


def _match(pattern: paths.Path) -> list[str]:
  if not paths.is_remote(pattern):
    return sorted(glob.glob(str(pattern), recursive=True))
  return sorted(map(str, pattern.parent.glob(pattern.name)))


def _is_picture(file: paths.Path, folder: paths.Path) -> bool:
  """Whether a file below a folder is a picture by its ending, and not hidden."""
  hidden = any(part.startswith('.') for part in file.parts[len(folder.parts):])
  return file.suffix.lower() in EXTENSIONS and not hidden
