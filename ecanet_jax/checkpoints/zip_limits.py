"""A limit for zip files: weights hardly compress, a zip bomb does by a factor of a thousand."""

import os
import zipfile
from typing import IO

RATIO = 16  # unpacked bytes for each packed one; float arrays have less than 2
SLACK = 2**20  # more bytes that any archive may unpack to, for headers and arrays of zeros


def check_archive(file: str | IO[bytes]) -> None:
  """Returns if a zip file may be unpacked.

  The sizes are those of the central directory; zipfile unpacks no more of an entry than it says.

  Raises:
    ValueError: it would unpack to far more than weights do.
    zipfile.BadZipFile: it is not a whole zip file.
  """
  with zipfile.ZipFile(file) as archive:
    size = archive.fp.seek(0, os.SEEK_END)
    unpacked = sum(entry.file_size for entry in archive.infolist())
  if unpacked > RATIO * size + SLACK:
    raise ValueError(f'it has {size:,} bytes and would unpack to {unpacked:,}')
