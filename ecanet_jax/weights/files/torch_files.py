"""Reads state dicts from PyTorch's files, and writes them. No code from a file is ever run.

torch.load reads them with `weights_only=True`. Checkpoints hold other things than tensors, too:
arguments, paths, settings, numbers of numpy. numpy's are read; every other object becomes an empty
mapping and is ignored, so that its class is neither imported nor called.
"""

import collections
import contextlib
import io
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ecanet_jax.checkpoints.zip_limits import check_archive
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, one_line
from ecanet_jax.runtime.log import log
from ecanet_jax.weights.files.foreign import foreign
from ecanet_jax.weights.files.wrappers import unwrap

TORCH_MINIMUM = (2, 10)  # older ones can run code despite weights_only=True (GHSA-63cw-57p8-fm3p)

READ_PROTOCOL = 3  # the newest pickle protocol that torch.load reads with weights_only=True
MAGIC = b'l\xfc\x9cF\xf9 j\xa8P\x19.'  # at the beginning of a file of before PyTorch 1.6
HEAD = 32  # bytes in which it is

# Objects that training loops save beside the weights. Of a zip file PyTorch lists them; in the
# format before PyTorch 1.6 only these are ignored.
BESIDE = (
  'argparse.Namespace', 'pathlib.PosixPath', 'pathlib.WindowsPath', 'pathlib.PurePosixPath',
  'lightning_fabric.utilities.data.AttributeDict',
  'pytorch_lightning.utilities.parsing.AttributeDict',
)


class _Ignored:
  """Stands for a class that is not known: an instance is an empty mapping."""

  def __new__(cls, *args, **kwargs):
    return collections.OrderedDict()


def read_torch(path: str, kind: str) -> dict[str, np.ndarray]:
  """Reads a state dict from a file of torch.save.

  Args:
    path: the file.
    kind: which weights of a training checkpoint, a key of `wrappers.WRAPPERS`.

  Returns:
    Arrays by name; floating-point ones are float32.

  Raises:
    UserError: PyTorch is missing or too old; the file is damaged, is of another format, or holds no
      state dict.
  """
  return _state_dict(path, kind, paths.to_read(path))


def to_torch_bytes(state_dict: Mapping[str, np.ndarray]) -> bytes:
  """Serializes a state dict as torch.save does.

  Raises:
    UserError: PyTorch is missing or too old.
  """
  torch, file = _torch('a .pth file', 'written'), io.BytesIO()
  torch.save(collections.OrderedDict(
    (key, torch.from_numpy(np.array(array))) for key, array in state_dict.items()), file)
  return file.getvalue()


def from_torch_bytes(data: bytes) -> dict[str, np.ndarray]:
  """Parses what `to_torch_bytes` gives."""
  return _state_dict('a .pth file', 'raw', io.BytesIO(data))


def _state_dict(path: str, kind: str, file) -> dict[str, np.ndarray]:
  torch = _torch(path)
  content, classes = _load(torch, path, file)
  is_array = lambda value: isinstance(value, torch.Tensor | np.ndarray)
  if isinstance(content, collections.OrderedDict) and not content and classes:
    raise UserError(
      f'{path} holds an object of the class {_listed(classes)}, which only its code can read; save '
      'the state dict of the network: torch.save(model.state_dict(), FILE).'
    )
  content = unwrap(path, content, kind, is_array)
  for key, value in content.items():
    if not is_array(value):
      unknown = classes and isinstance(value, collections.OrderedDict) and not value
      kind = _listed(classes) if unknown else type(value).__name__
      raise UserError(f'{path}: {key!r} is of type {kind}, not a tensor; save only the state dict.')
  return {str(key): _array(torch, path, key, value) for key, value in content.items()}


def _load(torch, path: str, file) -> tuple[Any, list[str]]:
  """Returns the content, and the names of the classes that were ignored."""
  advice = 'copy it again, or save only the state dict of the model'
  try:
    classes = list(BESIDE)
    if _is_zip(file):
      _check_zip(path, file)
      advice = 'save only tensors: torch.save(model.state_dict(), FILE)'  # the archive is whole
      classes = torch.serialization.get_unsafe_globals_in_checkpoint(_rewound(file))
    with _safe_globals(torch, classes), warnings.catch_warnings():
      warnings.simplefilter('ignore')  # of pickle protocols and of types of tensors
      return torch.load(_rewound(file), map_location='cpu', weights_only=True), classes
  except UserError:
    raise
  except Exception as error:  # pickle's, zip's and torch's own errors have no common base
    if (protocol := _pickle_protocol(file)) > READ_PROTOCOL:
      raise UserError(
        f'{path} was saved with pickle_protocol={protocol}, which PyTorch reads only by running '
        'code; save it with torch.save(state_dict, FILE), whose protocol is 2.'
      ) from error
    found = re.search(r'GLOBAL (\S+)', str(error))
    if found and type(error).__name__ == 'UnpicklingError':
      raise UserError(
        f'{path} holds an object of {found[1]}, which is not read because it can run code; save '
        'only tensors: torch.save(model.state_dict(), FILE).'
      ) from error
    raise UserError(
      foreign(path, _rewound(file)) or _plain_pickle(path, file) or
      f'{path} is not a complete PyTorch file with only tensors ({_reason(error)}); {advice}.'
    ) from error


def _check_zip(path: str, file) -> None:
  """Checks that a zip file is whole, and one of torch.save.

  Raises:
    UserError: it is a TorchScript program, or an entry differs from its checksum.
    Exception: it is damaged.
  """
  check_archive(_rewound(file))
  with zipfile.ZipFile(_rewound(file)) as archive:
    names = archive.namelist()
    if any(name.endswith('/constants.pkl') for name in names):
      raise UserError(
        f'{path} is a TorchScript program, not a state dict; save its weights in PyTorch: '
        'torch.save(torch.jit.load(FILE).state_dict(), NEW).'
      )
    if not any(name.endswith('/data.pkl') for name in names):
      raise UserError(
        f'{path} is a zip archive without weights of PyTorch; unpack it, and give the file in it.'
      )
    damaged = [name for name in names if not _is_whole(archive, name)]
  if damaged and len(damaged) == len(names):
    # torch.serialization.set_crc32_options(False) writes no checksum at all.
    log.info('%s has no checksums; its content is not verified.', path)
  elif damaged:
    raise UserError(
      f'{path} is damaged: its entry {damaged[0]} differs from its checksum; copy it again.'
    )


def _is_whole(archive: zipfile.ZipFile, name: str) -> bool:
  try:
    archive.read(name)
  except zipfile.BadZipFile as error:
    if 'CRC' in str(error):
      return False
    raise
  return True


@contextlib.contextmanager
def _safe_globals(torch, classes: list[str]) -> Iterator[None]:
  """Allows numpy's numbers and arrays, and empty mappings for objects of other classes."""
  scalar, reconstruct = np.float32(0).__reduce__()[0], np.zeros(0).__reduce__()[0]
  allowed = {
    f'{module}.{name}': value
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray')
    for name, value in (('scalar', scalar), ('_reconstruct', reconstruct))
  } | {'numpy.dtype': np.dtype, 'numpy.ndarray': np.ndarray}
  dtypes = {type(np.dtype(code)) for code in '?bBhHiIlLqQefdFDSUMmO'}
  ignored = [(_Ignored, name) for name in classes if name not in allowed]
  known = [(value, name) for name, value in allowed.items()]
  with torch.serialization.safe_globals([*known, *dtypes, *ignored]):
    yield


def _array(torch, path: str, key: Any, value) -> np.ndarray:
  if isinstance(value, np.ndarray):
    if value.dtype.kind not in 'biuf':
      raise UserError(f'{path}: {key!r} is an array of {value.dtype}, not of numbers.')
    return value.astype(np.float32) if value.dtype.kind == 'f' else value
  value = value.detach()
  if value.is_meta:
    raise UserError(f'{path}: {key!r} is a tensor on the device meta, which has no values.')
  if value.is_quantized or value.is_complex() or value.layout is not torch.strided:
    what = 'quantized' if value.is_quantized else 'complex' if value.is_complex() else value.layout
    raise UserError(
      f'{path}: {key!r} is a tensor of another kind ({what}); save the weights of a float network.'
    )
  return (value.float() if value.is_floating_point() else value).numpy()


def _is_zip(file) -> bool:
  return zipfile.is_zipfile(_rewound(file))


def _pickle_protocol(file) -> int:
  """The protocol of the pickle in a file of torch.save; 0 if it is none."""
  with contextlib.ExitStack() as stack:
    try:
      if _is_zip(file):
        archive = stack.enter_context(zipfile.ZipFile(_rewound(file)))
        name = next(name for name in archive.namelist() if name.endswith('/data.pkl'))
        head = stack.enter_context(archive.open(name)).read(2)
      else:
        stream = _rewound(file) if isinstance(file, io.BytesIO) else stack.enter_context(
          open(file, 'rb')
        )
        head = stream.read(HEAD)
        if MAGIC not in head:
          return 0
    except Exception:  # of a damaged archive, of many types
      return 0
  return head[1] if head[:1] == b'\x80' and len(head) > 1 else 0


def _plain_pickle(path: str, file) -> str:
  """Says that a file is a whole pickle that torch.save has not written, else ''."""
  with contextlib.ExitStack() as stack:
    stream = _rewound(file) if isinstance(file, io.BytesIO) else stack.enter_context(
      open(file, 'rb')
    )
    try:
      for _ in pickletools.genops(stream):
        pass
    except Exception:  # it is damaged, or not a pickle
      return ''
    if stream.read(1):
      return ''
  return (
    f'{path} is a pickle of Python, not a file of torch.save, and could run code; save its arrays '
    'with numpy.savez, or its tensors with torch.save.'
  )


def _rewound(file):
  """The file from its beginning: a path, or the bytes from a bucket."""
  if isinstance(file, io.BytesIO):
    file.seek(0)
  return file


def _reason(error: Exception) -> str:
  """What is wrong, out of PyTorch's long answers, without the escape sequences in them."""
  text = re.sub(r'\x1b\[[0-9;]*m', '', str(error))
  own = re.search(r'WeightsUnpickler error: (.*)', text)
  text = own[1] if own else text.partition('\n')[0]
  return one_line(Exception(text)) if text else type(error).__name__


def _listed(classes: list[str]) -> str:
  names = sorted(name for name in classes if not name.startswith(('numpy.', 'builtins.', 'torch.')))
  return ', '.join(names[:3]) or ', '.join(sorted(classes)[:3])


def _torch(path: str, done: str = 'read'):
  try:
    import torch
  except ImportError as error:
    raise UserError(
      f'{path} needs PyTorch to be {done}: pip install "ecanet-jax[torch]", or convert it to '
      '.safetensors.'
    ) from error
  version = tuple(int(n) for n in re.findall(r'\d+', torch.__version__)[:2])
  if version < TORCH_MINIMUM:
    raise UserError(
      f'PyTorch {torch.__version__} is too old to read {path} safely; 2.10 or newer is needed.'
    )
  return torch
