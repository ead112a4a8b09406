"""Reads and writes state dicts as .safetensors, .npz and .pth files; reads every known format.

No code from a file is ever run: for PyTorch's see `torch_files`; .npz files are read with
`allow_pickle=False`. A written .safetensors or .npz file gets a record of checksums beside it,
which reading verifies; a .pth file is an archive with checksums of its own.
"""

import contextlib
import io
import json
import os
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from ecanet_jax.checkpoints.zip_limits import check_archive
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, lookup, one_line
from ecanet_jax.weights.files import checksum, shards
from ecanet_jax.weights.files.foreign import HEAD, foreign, is_safetensors
from ecanet_jax.weights.files.torch_files import from_torch_bytes, read_torch, to_torch_bytes
from ecanet_jax.weights.files.wrappers import WRAPPERS

TORCH_LEGACY = b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'  # of torch.save before PyTorch 1.6
TORCH_SUFFIXES = ('.pth', '.pt', '.bin', '.tar', '.ckpt', '.pkl', '.th')

# Types of arrays in safetensors files. numpy lacks NARROW_FLOATS; they become float32, which has
# all of their values.
TYPES = {
  'F64': np.float64, 'F32': np.float32, 'F16': np.float16, 'I64': np.int64, 'U64': np.uint64,
  'I32': np.int32, 'U32': np.uint32, 'I16': np.int16, 'U16': np.uint16, 'I8': np.int8,
  'U8': np.uint8, 'BOOL': np.bool_,
}
NARROW_FLOATS = {
  'BF16': ml_dtypes.bfloat16, 'F8_E4M3': ml_dtypes.float8_e4m3fn, 'F8_E5M2': ml_dtypes.float8_e5m2,
  'F8_E4M3FNUZ': ml_dtypes.float8_e4m3fnuz, 'F8_E5M2FNUZ': ml_dtypes.float8_e5m2fnuz,
  'F8_E8M0': ml_dtypes.float8_e8m0fnu,
}


def to_bytes(state_dict: Mapping[str, np.ndarray]) -> bytes:
  """Serializes a state dict as a safetensors file whose metadata names PyTorch as its format."""
  arrays = {key: np.ascontiguousarray(array) for key, array in state_dict.items()}
  for key, array in state_dict.items():
    arrays[key] = arrays[key].reshape(np.shape(array))  # ascontiguousarray makes () into (1,)
  return safetensors.numpy.save(arrays, metadata={'format': 'pt'})


def from_bytes(data: bytes) -> dict[str, np.ndarray]:
  """Parses the bytes of a safetensors file; bfloat16 and float8 become float32."""
  arrays = {}
  for name, view in safetensors.deserialize(data):
    kind = lookup(TYPES | NARROW_FLOATS, view['dtype'], f'type of {name!r}')
    array = np.frombuffer(view['data'], kind).reshape(view['shape'])
    arrays[name] = array.astype(np.float32) if view['dtype'] in NARROW_FLOATS else array
  return arrays


def _to_npz(state_dict: Mapping[str, np.ndarray]) -> bytes:
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w') as archive:  # np.savez cannot take a key that is called 'file'
    for key, array in state_dict.items():
      with archive.open(zipfile.ZipInfo(f'{key}.npy'), 'w', force_zip64=True) as entry:
        np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)
  return file.getvalue()


class NotArrays(ValueError):
  """A file is whole, and holds other things than named arrays."""


def _from_npz(data: bytes) -> dict[str, np.ndarray]:
  if zipfile.is_zipfile(io.BytesIO(data)):
    check_archive(io.BytesIO(data))
  try:
    content = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(content, np.lib.npyio.NpzFile):
      raise NotArrays('it is a single array')
    with content:
      return {key: content[key] for key in content.files}
  except ValueError as error:
    if 'allow_pickle' in str(error):
      raise NotArrays('it holds objects of Python, which can run code') from error
    raise


# Suffix -> (serialize, parse), without PyTorch.
FORMATS: dict[str, tuple[Callable, Callable]] = {
  '.safetensors': (to_bytes, from_bytes),
  '.npz': (_to_npz, _from_npz),
}
# The same of all formats that are written.
WRITERS = {**FORMATS, '.pth': (to_torch_bytes, from_torch_bytes)}
WRITTEN = '.safetensors, .npz or .pth'

# The exceptions that the parsers raise for damaged or hostile content.
UNREADABLE = (
  safetensors.SafetensorError, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError,
  KeyError, AttributeError, MemoryError, NotImplementedError, RuntimeError, SyntaxError, TypeError,
  tokenize.TokenError,
)


def is_file_name(path: str | os.PathLike) -> bool:
  """Whether `write_state_dict` writes files of this name."""
  return str(path).endswith(tuple(WRITERS))


def write_bytes(path: str | os.PathLike, data: bytes, record: bytes | None = None) -> None:
  """Writes a file, and optionally its record of checksums, atomically.

  An old record is removed before the file is replaced: a file without a record can be read, a file
  with the record of another cannot.

  Args:
    path: the file to write.
    data: its bytes.
    record: the bytes of its record; None = no record.

  Raises:
    UserError: the directory is not there, or the file cannot be written.
  """
  path = os.fspath(path)
  contents = {path: data} | ({} if record is None else {checksum.record_path(path): record})
  if paths.is_remote(path):
    _write_objects(contents)
    return
  temporary = {name: f'{name}.{os.getpid()}.partial' for name in contents}
  try:
    for name, content in contents.items():
      with open(temporary[name], 'wb') as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if record is not None:
      with contextlib.suppress(FileNotFoundError):
        os.unlink(checksum.record_path(path))
    for name in contents:
      os.replace(temporary[name], name)
  except OSError as error:
    for name in temporary.values():
      with contextlib.suppress(FileNotFoundError):
        os.unlink(name)
    raise UserError(f'cannot write {path}: {error.strerror or error}.') from error


def _write_objects(contents: Mapping[str, bytes]) -> None:
  """Writes a file and its record to a bucket; an old record is removed first."""
  first, *others = map(paths.to_path, contents)
  try:
    for record in others:
      with paths.answers(record):
        record.unlink(missing_ok=True)
    for target in (first, *others):
      paths.write_whole(target, contents[str(target)])
  except OSError as error:
    raise UserError(f'cannot write {first}: {error.strerror}. {paths.advice(first)}') from error


def write_state_dict(path: str, state_dict: Mapping[str, np.ndarray]) -> None:
  """Writes a .safetensors, .npz or .pth file atomically; of the first two, checksums as FILE.json.

  Raises:
    UserError: another suffix, the file cannot be written, or PyTorch is needed and is missing.
  """
  if not is_file_name(path):
    raise UserError(f'{path} must end in {WRITTEN}, the formats that are written.')
  suffix = os.path.splitext(path)[1]
  content = WRITERS[suffix][0](state_dict)
  record = json.dumps(checksum.record(content, state_dict), indent=2) + '\n'
  write_bytes(path, content, record.encode() if suffix in FORMATS else None)


def read_state_dict(
  path: str, kind: str = 'ema', record: checksum.Record | None = None
) -> dict[str, np.ndarray]:
  """Reads a state dict from a .safetensors or .npz file or, with PyTorch, from one of its files.

  Args:
    path: the file, or the index of several files, such as model.safetensors.index.json. The ending
      says its format: one of FORMATS or TORCH_SUFFIXES. With another one its content does.
    kind: which weights of a PyTorch training checkpoint to read: 'ema' = the averaged ones
      if it has any, 'raw' = those as trained; see `wrappers`. The log says which were read.
    record: the checksums of a .safetensors or .npz file; None = those of FILE.json, if it exists.

  Returns:
    Arrays by name. Floating-point arrays of a PyTorch file, and bfloat16 and float8, are float32.

  Raises:
    UserError: there is no such file; its format is unknown; it is damaged, differs from its
      checksums, or holds objects other than tensors; PyTorch is needed and is missing or too old.
  """
  lookup(WRAPPERS, kind, 'kind')
  with paths.answers(path):
    if not paths.to_path(path).is_file():
      raise UserError(f'{path}: no such file.')
  if path.endswith(shards.SUFFIX):
    files = shards.files_of(path)
    content = {file: read_state_dict(file, kind) for file in sorted(set(files.values()))}
    return shards.joined(path, files, content)
  suffix = os.path.splitext(path)[1].lower()
  if suffix not in (*FORMATS, *TORCH_SUFFIXES):
    suffix = _suffix_by_content(path)
  if suffix in FORMATS:
    return _read(path, suffix, record or checksum.read_record(path))
  return read_torch(path, kind)


def _suffix_by_content(path: str) -> str:
  """The suffix that a file should have, such as one of a download cache, which has none.

  Raises:
    UserError: its content is of no known format.
  """
  with paths.answers(path):
    content = io.BytesIO(paths.to_path(path).read_bytes())
  head = content.read(HEAD)
  if is_safetensors(head):
    return '.safetensors'
  if head.startswith(TORCH_LEGACY):
    return '.pth'
  if zipfile.is_zipfile(content):
    with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(content) as archive:
      names = archive.namelist()
      if any(name.endswith('.npy') for name in names):
        return '.npz'
      if any(name.endswith('/data.pkl') for name in names):
        return '.pth'
  known = ', '.join((*FORMATS, *TORCH_SUFFIXES, shards.SUFFIX))
  content.seek(0)
  raise UserError(
    foreign(path, content) or f'{path} is of no known format; known endings: {known}.'
  )


def _read(path: str, suffix: str, record: checksum.Record | None) -> dict[str, np.ndarray]:
  parse = FORMATS[suffix][1]
  try:
    with paths.answers(path):
      content = paths.to_path(path).read_bytes()
  except OSError as error:
    raise UserError(f'{path} cannot be read: {error.strerror or error}.') from error
  checksum.check(path, content, lambda: parse(content), record)
  try:
    return parse(content)
  except UserError as error:
    raise UserError(f'{path}: {error}') from error
  except NotArrays as error:
    raise UserError(
      f'{path} is not a complete npz file with only arrays ({error}); save arrays of numbers: '
      'np.savez(FILE, **arrays).'
    ) from error
  except UNREADABLE as error:
    raise UserError(
      foreign(path, io.BytesIO(content)) or
      f'{path} is not a complete {suffix.removeprefix(".")} file with only arrays '
      f'({one_line(error)}); copy or download it again.'
    ) from error
