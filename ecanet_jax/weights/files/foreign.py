"""Recognizes files that are whole, but are no weights of the format that their name says."""

import os
from typing import IO

# First bytes -> what the file is and what to do.
SIGNATURES = {
  b'version https://git-lfs': 'a pointer of Git LFS, not the weights: run `git lfs pull`',
  b'<!DOCTYPE': 'a web page, not the weights: give the download the address of the file itself',
  b'<!doctype': 'a web page, not the weights: give the download the address of the file itself',
  b'<html': 'a web page, not the weights: give the download the address of the file itself',
  b'\x1f\x8b': 'a gzip archive: unpack it, and give the file in it',
  b'\xfd7zXZ\x00': 'an xz archive: unpack it, and give the file in it',
  b'BZh': 'a bzip2 archive: unpack it, and give the file in it',
  b'7z\xbc\xaf': 'a 7z archive: unpack it, and give the file in it',
  b'Rar!': 'a rar archive: unpack it, and give the file in it',
  b'\x89HDF': 'an HDF5 file: give it the ending .h5, and the dialect keras',
  b'GGUF': 'a GGUF file, which holds no network of ours',
}
HEAD = 512


def foreign(path: str, file: str | os.PathLike | IO[bytes]) -> str:
  """One line that says what a file is, '' if it is nothing known.

  Args:
    path: its name, for the message.
    file: the file, or its bytes from the beginning.
  """
  if isinstance(file, str | os.PathLike):
    with open(file, 'rb') as opened:
      return foreign(path, opened)
  head = file.read(HEAD)
  for signature, what in SIGNATURES.items():
    if head.startswith(signature) and not path.endswith(('.h5', '.hdf5')):
      return f'{path} is {what}.'
  if head[257:262] == b'ustar':
    return f'{path} is a tar archive: unpack it, and give the file in it.'
  if is_safetensors(head) and not path.endswith('.safetensors'):
    return f'{path} is a safetensors file: give it the ending .safetensors.'
  return ''


def is_safetensors(head: bytes) -> bool:
  """Whether a file that begins with these bytes is a safetensors file."""
  return head[8:10] in (b'{"', b'{}') and 0 < int.from_bytes(head[:8], 'little') < 10**8

