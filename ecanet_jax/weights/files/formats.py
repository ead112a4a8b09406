"""Reads and writes state dicts as .safetensors and .npz files, and reads PyTorch's files.

No code from a file is ever run: PyTorch files are read with `weights_only=True`, .npz files with
`allow_pickle=False`. A written file gets a record of checksums beside it, which reading verifies.
"""

import contextlib
import io
import json
import os
import re
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping

import numpy as np
import safetensors
import safetensors.numpy

from ecanet_jax.checkpoints.zip_limits import check_archive
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, lookup, one_line
from ecanet_jax.runtime.log import log
from ecanet_jax.weights.files import checksum

TORCH_SUFFIXES = ('.pth', '.pt', '.bin', '.tar')
TORCH_MINIMUM = (2, 10)  # older ones can run code despite weights_only=True (GHSA-63cw-57p8-fm3p)

# The keys under which a PyTorch training checkpoint holds its weights, the first match wins. timm
# and the ECA authors use state_dict, torchvision uses model.
WRAPPERS = {
  'ema': ('state_dict_ema', 'model_ema', 'state_dict', 'model'), 'raw': ('state_dict', 'model'),
}


def to_bytes(state_dict: Mapping[str, np.ndarray]) -> bytes:
  """Serializes a state dict as a safetensors file whose metadata names PyTorch as its format."""
  arrays = {key: np.ascontiguousarray(array) for key, array in state_dict.items()}
  for key, array in state_dict.items():
    arrays[key] = arrays[key].reshape(np.shape(array))  # ascontiguousarray makes () into (1,)
  return safetensors.numpy.save(arrays, metadata={'format': 'pt'})


def from_bytes(data: bytes) -> dict[str, np.ndarray]:
  """Parses the bytes of a safetensors file."""
  return safetensors.numpy.load(data)


def _to_npz(state_dict: Mapping[str, np.ndarray]) -> bytes:
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w') as archive:  # np.savez cannot take a key that is called 'file'
    for key, array in state_dict.items():
      with archive.open(zipfile.ZipInfo(f'{key}.npy'), 'w', force_zip64=True) as entry:
        np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)
  return file.getvalue()


def _from_npz(data: bytes) -> dict[str, np.ndarray]:
  if zipfile.is_zipfile(io.BytesIO(data)):
    check_archive(io.BytesIO(data))
  content = np.load(io.BytesIO(data), allow_pickle=False)
  if not isinstance(content, np.lib.npyio.NpzFile):
    raise ValueError('it is a single array')
  with content:
    return {key: content[key] for key in content.files}


# Suffix -> (serialize, parse).
FORMATS: dict[str, tuple[Callable, Callable]] = {
  '.safetensors': (to_bytes, from_bytes),
  '.npz': (_to_npz, _from_npz),
}
WRITTEN = ' or '.join(FORMATS)

# The exceptions that the parsers raise for damaged or hostile content.
UNREADABLE = (
  safetensors.SafetensorError, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError,
  KeyError, AttributeError, MemoryError, NotImplementedError, RuntimeError, SyntaxError, TypeError,
  tokenize.TokenError,
)


def is_file_name(path: str | os.PathLike) -> bool:
  """Whether `write_state_dict` writes files of this name."""
  return str(path).endswith(tuple(FORMATS))


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
  """Writes a .safetensors or .npz file atomically, and its checksums as FILE.json.

  Raises:
    UserError: another suffix, or the file cannot be written.
  """
  if not is_file_name(path):
    raise UserError(f'{path} must end in {WRITTEN}, the formats that are written.')
  content = FORMATS[os.path.splitext(path)[1]][0](state_dict)
  record = json.dumps(checksum.record(content, state_dict), indent=2) + '\n'
  write_bytes(path, content, record.encode())


def read_state_dict(
  path: str, kind: str = 'ema', record: checksum.Record | None = None
) -> dict[str, np.ndarray]:
  """Reads a state dict from a .safetensors or .npz file or, with PyTorch, .pth, .pt, .bin or .tar.

  Args:
    path: the file.
    kind: which weights of a PyTorch training checkpoint to read: 'ema' = the averaged ones
      (`state_dict_ema`, `model_ema`) if it has any, 'raw' = those of `state_dict` or `model`. The
      log says which were read.
    record: the checksums of a .safetensors or .npz file; None = those of FILE.json, if it exists.

  Returns:
    Arrays by name. Floating-point arrays of a PyTorch file become float32.

  Raises:
    UserError: there is no such file; its format is unknown; it is damaged, differs from its
      checksums, or holds objects other than tensors; PyTorch is needed and is missing or too old.
  """
  with paths.answers(path):
    if not paths.to_path(path).is_file():
      raise UserError(f'{path}: no such file.')
  suffix = os.path.splitext(path)[1]
  if suffix in FORMATS:
    return _read(path, suffix, record or checksum.read_record(path))
  if path.endswith(TORCH_SUFFIXES):
    return _read_torch(path, lookup(WRAPPERS, kind, 'kind'))
  known = ', '.join((*FORMATS, *TORCH_SUFFIXES))
  raise UserError(f'{path} must end in one of {known}.')


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
  except UNREADABLE as error:
    raise UserError(
      f'{path} is not a complete {suffix.removeprefix(".")} file with only arrays '
      f'({one_line(error)}); copy or download it again.'
    ) from error


def _read_torch(path: str, wrappers: tuple[str, ...]) -> dict[str, np.ndarray]:
  torch, file = _torch(path), paths.to_read(path)
  try:
    if zipfile.is_zipfile(file):
      check_archive(file)
    if isinstance(file, io.BytesIO):
      file.seek(0)
    content = torch.load(file, map_location='cpu', weights_only=True)
  except Exception as error:  # pickle's, zip's and torch's own errors have no common base
    raise UserError(
      f'{path} is not a complete PyTorch file with only tensors ({one_line(error)}); copy it '
      'again, or save only the state dict of the model.'
    ) from error
  if isinstance(content, Mapping):
    for wrapper in wrappers:
      if isinstance(content.get(wrapper), Mapping):
        log.warning('%s: read %r, one of %s.', path, wrapper, sorted(map(str, content)))
        content = content[wrapper]
        break
  if not isinstance(content, Mapping) or not content:
    raise UserError(f'{path} holds an object of type {type(content).__name__}, not a state dict.')
  for key, value in content.items():
    if not isinstance(value, torch.Tensor):
      raise UserError(
        f'{path}: {key!r} is of type {type(value).__name__}, not a tensor; '
        'save only the state dict.'
      )
  return {
    key: (value.float() if value.is_floating_point() else value).numpy()
    for key, value in content.items()
  }


def _torch(path: str):
  try:
    import torch
  except ImportError as error:
    raise UserError(
      f'{path} needs PyTorch to be read: pip install "ecanet-jax[torch]", or convert it to '
      '.safetensors.'
    ) from error
  version = tuple(int(n) for n in re.findall(r'\d+', torch.__version__)[:2])
  if version < TORCH_MINIMUM:
    raise UserError(
      f'PyTorch {torch.__version__} is too old to read {path} safely; 2.10 or newer is needed.'
    )
  return torch
