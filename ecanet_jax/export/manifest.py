"""export.json: what an export holds, with the checksum of each file."""

import hashlib
import importlib.metadata
import json
import pathlib
from typing import Any

from ecanet_jax.runtime.errors import UserError, one_line
from ecanet_jax.version import __version__

NAME, REFERENCE, LABELS = 'export.json', 'reference.npy', 'labels.txt'
PACKAGES = (
  'jax', 'tensorflow-cpu', 'tensorflow', 'onnx', 'onnxruntime', 'litert-converter',
  'litert-quantizer', 'ai-edge-litert',
)


def versions() -> dict[str, str]:
  """The versions of this package and of those that write and run the files."""
  found = {'ecanet_jax': __version__}
  for package in PACKAGES:
    try:
      found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found


def files(path: pathlib.Path) -> list[pathlib.Path]:
  """A file, or the files below a folder, sorted."""
  if not path.is_dir():
    return [path]
  return sorted(each for each in path.rglob('*') if each.is_file())


def size(path: pathlib.Path) -> int:
  """Bytes of a file, or of all files in a folder."""
  return sum(each.stat().st_size for each in files(path))


def checksums(path: pathlib.Path, folder: pathlib.Path) -> dict[str, dict[str, Any]]:
  """Name in `folder` -> bytes and SHA-256, of a file or all files below it."""
  return {
    each.relative_to(folder).as_posix(): {
      'bytes': each.stat().st_size, 'sha256': hashlib.sha256(each.read_bytes()).hexdigest(),
    }
    for each in files(path)
  }


def write(folder: pathlib.Path, content: dict[str, Any], reference: pathlib.Path) -> None:
  """Writes export.json, with the checksum of the file that has our outputs of the noise."""
  content = {**content, 'reference': checksums(reference, folder)}
  (folder / NAME).write_text(json.dumps(content, indent=2, ensure_ascii=False) + '\n')


def read(folder: pathlib.Path) -> dict[str, Any]:
  """Reads export.json and compares all checksums.

  Raises:
    UserError: it is no export, or a file is missing or damaged.
  """
  try:
    content = json.loads((folder / NAME).read_text())
  except FileNotFoundError as error:
    raise UserError(
      f'{folder} has no {NAME}; give the OUT of `ecanet_jax export RUN OUT`.'
    ) from error
  except (OSError, ValueError) as error:
    raise UserError(f'{folder / NAME} cannot be read: {one_line(error)}.') from error
  groups = [content['reference'], *(each['files'] for each in content['formats'].values())]
  for name, expected in (item for group in groups for item in group.items()):
    path = folder / name
    if not path.is_file():
      raise UserError(f'{path} is missing; export again.')
    if checksums(path, folder)[name] != expected:
      raise UserError(f'{path} is damaged: its SHA-256 is not that of {NAME}; export again.')
  return content
