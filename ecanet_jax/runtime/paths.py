"""Paths that a user names: on this machine's disks, or in a bucket (gs://BUCKET/PATH).

A local path is a `pathlib.Path`, one in a bucket an `etils.epath.Path` with the same methods. A
bucket has no directories, no rename and no append, but it takes an object whole or not at all.
"""

import contextlib
import errno
import io
import logging
import os
import pathlib
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from ecanet_jax.runtime.errors import UserError, closest, one_line

if TYPE_CHECKING:
  from etils import epath

Path: TypeAlias = 'pathlib.Path | epath.Path'

SCHEMES = ('gs',)
STANDARD_OUTPUT = '-'  # in the place of a file
_SCHEME = re.compile(r'([A-Za-z][A-Za-z0-9+.-]*)://')
_LOST_SLASH = re.compile(rf'({"|".join(SCHEMES)}):/(?!/)')
_PROBE = '.writable'  # the object that `check_writable` writes and deletes


class StoreError(OSError):
  """A bucket did not answer, or refused; `strerror` is its answer in one line."""


def to_path(name: str | os.PathLike) -> Path:
  """The path that a user has named; `~` is the home directory.

  Raises:
    UserError: an unknown scheme such as s3://, or no bucket.
  """
  text = os.fspath(name)
  if found := _LOST_SLASH.match(text):
    raise UserError(
      f'{text} has one slash, as pathlib.Path leaves it; give the text '
      f'{found[1]}://{text[found.end():]}'
    )
  if not (found := _SCHEME.match(text)):
    return pathlib.Path(text).expanduser()
  scheme, rest = found[1], text[found.end():]
  if scheme not in SCHEMES:
    raise UserError(
      f'{text}: unknown scheme {scheme!r}.{closest(scheme.lower(), SCHEMES)} A path is local, or '
      'gs://BUCKET/PATH.'
    )
  if not rest.partition('/')[0]:
    raise UserError(f'{text} names no bucket; write {scheme}://BUCKET/PATH.')
  return _in_bucket(text)


def _in_bucket(text: str) -> Path:
  import fsspec.config
  from etils import epath

  logging.getLogger('gcsfs').setLevel(logging.CRITICAL)  # prints tracebacks of what it raises
  # TensorStore writes to the bucket, too: a listing that gcsfs keeps would be out of date.
  fsspec.config.conf.setdefault('gcs', {}).setdefault('use_listings_cache', False)
  return epath.Path(text)


def is_remote(path: str | os.PathLike) -> bool:
  """Whether a path is in a bucket."""
  return bool(_SCHEME.match(os.fspath(path)))


def absolute(path: Path) -> Path:
  """A path that does not depend on the current directory."""
  return path if is_remote(path) else path.absolute()


def short_names(names: Sequence[str | os.PathLike]) -> list[str]:
  """The last parts of each path, as few as tell the paths apart."""
  parts = [absolute(to_path(name)).parts for name in names]
  different = len(set(parts))
  for count in range(1, max(map(len, parts), default=0) + 1):
    short = ['/'.join(each[-count:]) for each in parts]
    if len(set(short)) == different:
      return short
  return []


def same_place(one: str | os.PathLike, other: str | os.PathLike) -> bool:
  """Whether two names are one file or directory."""
  paths = [to_path(name) for name in (one, other)]
  return len({str(path) if is_remote(path) else os.path.realpath(path) for path in paths}) == 1


@contextlib.contextmanager
def answers(path: str | os.PathLike) -> Iterator[None]:
  """Turns the many errors of buckets into two kinds; errors of local files pass unchanged.

  Raises:
    UserError: the package that opens the bucket is missing.
    StoreError: any other error, but for FileNotFoundError.
  """
  try:
    yield
  except (UserError, FileNotFoundError, StoreError):
    raise
  except Exception as error:
    if not is_remote(path):
      raise
    if isinstance(error, ImportError) or type(error).__name__ == 'UnimplementedError':
      raise UserError(
        f'{path} cannot be opened ({one_line(error, 80)}): pip install gcsfs, and set the '
        'variable EPATH_USE_TF=0.'
      ) from error
    raise StoreError(errno.EIO, one_line(error), str(path)) from error


def advice(path: str | os.PathLike) -> str:
  """What to do about a bucket that refuses or does not answer, with a command of Google's."""
  bucket = '/'.join(os.fspath(path).split('/')[:3])
  return f'Check the name of the bucket and your permission: gcloud storage ls {bucket}'


def make_directory(path: Path) -> None:
  """Creates a local directory and its parents; a bucket has no directories."""
  if not is_remote(path):
    path.mkdir(parents=True, exist_ok=True)


def check_writable(path: Path) -> None:
  """Creates a local directory, or writes and deletes a small object below a path in a bucket.

  Raises:
    OSError: it cannot be written to; a StoreError for a bucket.
    UserError: the package that opens the bucket is missing.
  """
  make_directory(path)
  if is_remote(path):
    write_whole(path / _PROBE, b'')
    with answers(path):
      (path / _PROBE).unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
  """Writes a file so that others see the old content or the new one, also after a kill.

  Raises:
    OSError: it cannot be written; a StoreError for a bucket.
  """
  data = content.encode() if isinstance(content, str) else content
  if is_remote(path):
    try:
      with answers(path):
        path.write_bytes(data)
    except FileNotFoundError as error:
      raise StoreError(errno.ENOENT, 'there is no such bucket', str(path)) from error
    return
  temporary = path.with_name(f'{path.name}.{os.getpid()}.tmp')
  try:
    with temporary.open('wb') as file:
      file.write(data)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  except OSError:
    temporary.unlink(missing_ok=True)
    raise


def write_or_print(name: str, text: str) -> None:
  """Writes a whole file; STANDARD_OUTPUT as its name prints the text.

  Raises:
    OSError: as `write_whole`.
  """
  if name == STANDARD_OUTPUT:
    sys.stdout.write(text)
  else:
    write_whole(to_path(name), text)


def to_read(path: str | os.PathLike) -> str | io.BytesIO:
  """A file for a library that knows no buckets: a local one's name, or the bytes of an object."""
  if not is_remote(path):
    return os.fspath(path)
  with answers(path):
    return io.BytesIO(to_path(path).read_bytes())


def write_figure(path: Path, figure, dpi: int) -> None:
  """Writes a figure of matplotlib as a PNG."""
  picture = io.BytesIO()
  figure.savefig(picture, format='png', dpi=dpi)
  write_whole(path, picture.getvalue())


def size(path: Path) -> int:
  """The bytes of a file."""
  found = path.stat()
  return found.length if is_remote(path) else found.st_size


def files_below(path: Path) -> list[Path]:
  """All files below a directory, at any depth; [] if there is none."""
  if not is_remote(path):
    return sorted(found for found in path.rglob('*') if found.is_file())
  files, folders = [], [path] if path.is_dir() else []
  while folders:
    for found in folders.pop().iterdir():
      (folders if found.is_dir() else files).append(found)
  return sorted(files)


def remove_tree(path: Path) -> None:
  """Removes a directory, as far as that is possible."""
  if not is_remote(path):
    shutil.rmtree(path, ignore_errors=True)
    return
  with contextlib.suppress(FileNotFoundError), answers(path):
    path.rmtree()
