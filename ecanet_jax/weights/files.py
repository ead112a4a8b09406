"""State dicts in files: safetensors both ways, PyTorch's own files for reading only.

Nothing here runs code from a file: PyTorch files are read with `weights_only=True`.
"""

import os
import re
from collections.abc import Mapping

import numpy as np
import safetensors
import safetensors.numpy
from absl import logging

from ecanet_jax.errors import UserError, lookup

TORCH_SUFFIXES = ('.pth', '.pt', '.bin', '.tar')
TORCH_MINIMUM = (2, 10)  # weights_only=True runs no code from here on (GHSA-63cw-57p8-fm3p)

# --weights -> the wrappers of a training checkpoint, in the order of preference.
WRAPPERS = {'ema': ('state_dict_ema', 'state_dict'), 'raw': ('state_dict',)}


def to_bytes(state_dict: Mapping[str, np.ndarray]) -> bytes:
  """The safetensors file of a state dict, with PyTorch as its declared format."""
  arrays = {key: np.ascontiguousarray(array) for key, array in state_dict.items()}
  for key, array in state_dict.items():
    arrays[key] = arrays[key].reshape(np.shape(array))  # ascontiguousarray makes () into (1,)
  return safetensors.numpy.save(arrays, metadata={'format': 'pt'})


def from_bytes(data: bytes) -> dict[str, np.ndarray]:
  """The state dict in the bytes of a safetensors file."""
  return safetensors.numpy.load(data)


def write_bytes(path: str, data: bytes) -> None:
  """Writes a file so that it is either there in full or not there.

  Raises:
    UserError: the directory is not there, or the file cannot be written.
  """
  temporary = f'{path}.{os.getpid()}.partial'
  try:
    with open(temporary, 'wb') as file:
      file.write(data)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  except OSError as error:
    if os.path.exists(temporary):
      os.unlink(temporary)
    raise UserError(f'cannot write {path}: {error.strerror or error}.') from error


def write_state_dict(path: str, state_dict: Mapping[str, np.ndarray]) -> None:
  """Writes a .safetensors file, atomically.

  Raises:
    UserError: the name does not end in .safetensors, or the file cannot be written.
  """
  if not path.endswith('.safetensors'):
    raise UserError(f'{path} must end in .safetensors, the one format that is written.')
  write_bytes(path, to_bytes(state_dict))


def read_state_dict(path: str, weights: str = 'ema') -> dict[str, np.ndarray]:
  """Reads a state dict from a .safetensors file or, with PyTorch, a .pth, .pt, .bin or .tar.

  Args:
    path: the file.
    weights: 'ema' or 'raw': which to take from a training checkpoint that has both
      `state_dict_ema` and `state_dict`. Where only `state_dict` is there it is taken, and the log
      says so.

  Returns:
    Names to arrays; floating ones of a PyTorch file as float32.

  Raises:
    UserError: no such file, another kind of file, a truncated or unreadable one, objects in it
      that are not tensors, or a PyTorch that is absent or too old.
  """
  if not os.path.isfile(path):
    raise UserError(f'{path}: no such file.')
  if path.endswith('.safetensors'):
    try:
      return safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
      raise UserError(
        f'{path} is not a complete safetensors file ({_line(error)}); copy or download it again.'
      ) from error
  if path.endswith(TORCH_SUFFIXES):
    return _read_torch(path, lookup(WRAPPERS, weights, 'weights'))
  raise UserError(f'{path} must end in .safetensors or one of {", ".join(TORCH_SUFFIXES)}.')


def _read_torch(path: str, wrappers: tuple[str, ...]) -> dict[str, np.ndarray]:
  torch = _torch(path)
  try:
    content = torch.load(path, map_location='cpu', weights_only=True)
  except Exception as error:  # pickle's, zip's and torch's own errors have no common base
    raise UserError(
      f'{path} is not a complete PyTorch file of tensors alone ({_line(error)}); copy it again, or '
      'save only the state dict of the model.'
    ) from error
  if isinstance(content, Mapping):
    for wrapper in wrappers:
      if isinstance(content.get(wrapper), Mapping):
        logging.warning('%s: took %r out of %s.', path, wrapper, sorted(map(str, content)))
        content = content[wrapper]
        break
  if not isinstance(content, Mapping) or not content:
    raise UserError(f'{path} holds an object of type {type(content).__name__}, not a state dict.')
  for key, value in content.items():
    if not isinstance(value, torch.Tensor):
      raise UserError(
        f'{path}: {key!r} is of type {type(value).__name__}, not a tensor; '
        'save the state dict alone.'
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


def _line(error: Exception) -> str:
  return ' '.join(str(error).split())[:120] or type(error).__name__
