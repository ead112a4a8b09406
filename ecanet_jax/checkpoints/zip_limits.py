"""A limit against zip bombs: weights hardly compress, a bomb does by a factor of a thousand."""

import os
import zipfile
from typing import IO

RATIO = 16  # most unpacked bytes for each packed one; float arrays have less than 2
SLACK = 2**20  # further bytes for headers and arrays of zeros


def check_archive(file: str | IO[bytes]) -> None:
  """Checks that a zip file may be unpacked.

  The sizes come from the central directory; zipfile unpacks no more of an entry than it says.

  Raises:
    ValueError: it would unpack to far more than weights do.
    zipfile.BadZipFile: it is incomplete or no zip file.
  """
  with zipfile.ZipFile(file) as archive:
    size = archive.fp.seek(0, os.SEEK_END)
    unpacked = sum(entry.file_size for entry in archive.infolist())
  if unpacked > RATIO * size + SLACK:
    raise ValueError(f'it has {size:,} bytes and would unpack to {unpacked:,}')
