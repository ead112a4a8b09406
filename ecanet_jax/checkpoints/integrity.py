"""A manifest for each step of a checkpoint: the size and the SHA-256 of every file.

Orbax restores a flipped bit without an error. The manifest is written once all arrays of the step
are there, and before Orbax commits the step: on a local disk by a rename, in a bucket by the object
commit_success.txt. So a step has its manifest, or it does not count.

Format: `{"format": 1, "files": {path: [bytes, sha256]}, "sha256": of the canonical JSON of
"files"}`.
"""

import hashlib
import json
import os
import pathlib
from typing import Any

from ecanet_jax.runtime import paths

NAME = 'manifest.json'
COMMIT = 'commit_success.txt'  # Orbax's marker of a whole step in a bucket
# Orbax writes these after the manifest. They hold times and a marker, no restored value.
LATER = ('_CHECKPOINT_METADATA', COMMIT)
MAX_BYTES = 2**26  # of a manifest; a step of 1024 hosts needs less
CHUNK = 2**22  # bytes that are hashed at a time


def write(step: paths.Path) -> None:
  """Writes the manifest of a step; on return it and all files it names are on disk.

  A bucket gives every byte back once for this.
  """
  files, local = {}, not paths.is_remote(step)
  for path in paths.files_below(step):
    name = path.relative_to(step).as_posix()
    if name not in (*LATER, NAME):
      if local:
        _sync(path)
      files[name] = [paths.size(path), file_sha256(path)]
  content = {'format': 1, 'files': files, 'sha256': json_sha256(files)}
  paths.write_whole(step / NAME, json.dumps(content, indent=1))
  if local:
    for directory in (step, *(path for path in step.rglob('*') if path.is_dir())):
      _sync(directory)


def exists(step: paths.Path) -> bool:
  """Whether the step's directory has a manifest."""
  return (step / NAME).is_file()


def fault(step: paths.Path) -> str:
  """The first file of a step that differs from the manifest, and how; '' for a sound step.

  Nothing outside the directory is read, whatever a manifest says.

  Raises:
    StoreError: the bucket does not answer.
  """
  try:
    with paths.answers(step):
      return _fault(step)
  except paths.StoreError:
    raise
  except OSError as error:
    return f'{error.filename or step}: {error.strerror or error}'


def file_sha256(path: str | os.PathLike) -> str:
  """The SHA-256 of a file's bytes, in hexadecimal digits."""
  digest = hashlib.sha256()
  with paths.to_path(path).open('rb') as file:
    while chunk := file.read(CHUNK):
      digest.update(chunk)
  return digest.hexdigest()


def bytes_sha256(content: bytes) -> str:
  """The SHA-256 of bytes, in hexadecimal digits."""
  return hashlib.sha256(content).hexdigest()


def json_sha256(value: Any) -> str:
  """The SHA-256 of a value's canonical JSON: sorted keys, no spaces."""
  return bytes_sha256(json.dumps(value, sort_keys=True, separators=(',', ':')).encode())


def _fault(step: paths.Path) -> str:
  if (found := _size(step / NAME)) is None:
    return f'{NAME} is missing'
  if found > MAX_BYTES:
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
    if (found := _size(path)) is None:
      return f'{name} is missing'
    if found != size:
      return f'{name} has {found} bytes instead of {size}'
    if file_sha256(path) != known:
      return f'{name} has another SHA-256 than was written'
  return _unreadable(step / LATER[0])


def _size(path: paths.Path) -> int | None:
  """The bytes of a file, or None if there is none."""
  try:
    return paths.size(path)
  except FileNotFoundError:
    return None


def _unreadable(path: paths.Path) -> str:
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
