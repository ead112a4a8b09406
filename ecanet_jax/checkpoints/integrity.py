"""A manifest for each step of a checkpoint: the size and the SHA-256 of every file.

Orbax restores a flipped bit without an error. The manifest is written into the step's temporary
directory once all arrays are there. Orbax's rename then commits both at once: a step has its
manifest or does not exist. Format: `{"format": 1, "files": {path: [bytes, sha256]}, "sha256": of
the canonical JSON of "files"}`.
"""

import hashlib
import json
import os
import pathlib
from typing import Any

NAME = 'manifest.json'
# Orbax writes these after the manifest. They hold times and a marker, no restored value.
LATER = ('_CHECKPOINT_METADATA', 'commit_success.txt')
MAX_BYTES = 2**26  # of a manifest; a step of 1024 hosts needs less


def write(step: pathlib.Path) -> None:
  """Writes the manifest of a step; on return it and all files it names are on disk."""
  files = {}
  for path in sorted(step.rglob('*')):
    name = path.relative_to(step).as_posix()
    if path.is_file() and name not in (*LATER, NAME):
      _sync(path)
      files[name] = [path.stat().st_size, file_sha256(path)]
  content = {'format': 1, 'files': files, 'sha256': json_sha256(files)}
  temporary = step / f'{NAME}.partial'
  with temporary.open('w') as file:
    json.dump(content, file, indent=1)
    file.flush()
    os.fsync(file.fileno())
  os.replace(temporary, step / NAME)
  for directory in (step, *(path for path in step.rglob('*') if path.is_dir())):
    _sync(directory)


def exists(step: pathlib.Path) -> bool:
  """Whether the step's directory has a manifest."""
  return (step / NAME).is_file()


def fault(step: pathlib.Path) -> str:
  """The first file of a step that differs from the manifest, and how; '' for a sound step.

  Nothing outside the directory is read, whatever a manifest says.
  """
  try:
    return _fault(step)
  except OSError as error:
    return f'{error.filename or step}: {error.strerror or error}'


def file_sha256(path: str | os.PathLike) -> str:
  """The SHA-256 of a file's bytes, in hexadecimal digits."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def bytes_sha256(content: bytes) -> str:
  """The SHA-256 of bytes, in hexadecimal digits."""
  return hashlib.sha256(content).hexdigest()


def json_sha256(value: Any) -> str:
  """The SHA-256 of a value's canonical JSON: sorted keys, no spaces."""
  return bytes_sha256(json.dumps(value, sort_keys=True, separators=(',', ':')).encode())


def _fault(step: pathlib.Path) -> str:
  if not exists(step):
    return f'{NAME} is missing'
  if (step / NAME).stat().st_size > MAX_BYTES:
    return f'{NAME} is larger than {MAX_BYTES} bytes'
  try:
    content = json.loads((step / NAME).read_bytes())
    files = content['files']
    sound = content['format'] == 1 and content['sha256'] == json_sha256(files)
    records = [(str(name), int(size), str(known)) for name, (size, known) in files.items()]
  except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
    sound = False
  if not sound:
    return f'{NAME} is not a whole manifest'
  for name, size, known in records:
    path = step / name
    if pathlib.PurePosixPath(name).is_absolute() or '..' in pathlib.PurePosixPath(name).parts:
      return f'{NAME} names {name!r}, which is not in this directory'
    if not path.is_file():
      return f'{name} is missing'
    if (found := path.stat().st_size) != size:
      return f'{name} has {found} bytes instead of {size}'
    if file_sha256(path) != known:
      return f'{name} has another SHA-256 than was written'
  return _unreadable(step / LATER[0])


def _unreadable(path: pathlib.Path) -> str:
  """The fault of a file that Orbax reads and the manifest does not cover; '' if there is none."""
  try:
    whole = not path.exists() or isinstance(json.loads(path.read_bytes()), dict)
  except (ValueError, RecursionError):
    whole = False
  return '' if whole else f'{path.name} is not a JSON object'


def _sync(path: pathlib.Path) -> None:
  """Returns when a file or directory is on disk."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
