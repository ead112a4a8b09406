"""What an archive of weights may unpack to: weights hardly compress, a bomb does a thousandfold."""

import os
import zipfile
from typing import IO

RATIO = 16  # bytes that come out for one that goes in; float arrays have less than 2
SLACK = 2**20  # bytes: of small archives, of zeros and headers


def check_archive(file: str | IO[bytes]) -> None:
  """Returns if a zip file may be unpacked.

  zipfile reads no more of an entry than is looked at here, whatever the entry's own header says.

  Raises:
    ValueError: it would unpack to far more than weights do.
    zipfile.BadZipFile: it is not a whole zip file.
  """
  with zipfile.ZipFile(file) as archive:
    size = os.fstat(archive.fp.fileno()).st_size if isinstance(file, str) else _size(file)
    unpacked = sum(entry.file_size for entry in archive.infolist())
  if unpacked > RATIO * size + SLACK:
    raise ValueError(f'it has {size:,} bytes and would unpack to {unpacked:,}')


def _size(file: IO[bytes]) -> int:
  place = file.tell()
  size = file.seek(0, os.SEEK_END)
  file.seek(place)
  return size
