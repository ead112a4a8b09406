"""SHA-256 checksums of a file of weights and of each array in it, stored beside the file.

A safetensors file protects only its header, so a flipped bit in an array would go unnoticed. A
record of checksums is JSON: `{"sha256": of the file, "arrays": {name: of its bytes}}`. A single
FILE has it in FILE.json, a folder in the section `ecanet_jax` of its config.json.
"""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ecanet_jax.checkpoints.integrity import bytes_sha256
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.log import log

Record = dict[str, Any]
MAX_JSON = 2**24  # bytes; the names of 100,000 classes take a tenth of it


def record(content: bytes, state_dict: Mapping[str, np.ndarray]) -> Record:
  """Returns the checksums of a file.

  Args:
    content: the file's bytes.
    state_dict: the arrays in it.
  """
  return {
    'sha256': bytes_sha256(content),
    'arrays': {key: _array_sha256(array) for key, array in state_dict.items()},
  }


def record_path(path: str | os.PathLike) -> str:
  """The path of the record of a single file: FILE.json."""
  return f'{path}.json'


def read_record(path: str | os.PathLike) -> Record | None:
  """Reads the record beside a file; None where there is none.

  Raises:
    UserError: the record cannot be read.
  """
  name = paths.to_path(record_path(path))
  with paths.answers(name):
    if not name.exists():
      return None
  try:
    wanted = read_json(name)
  except paths.StoreError:
    raise
  except (OSError, ValueError) as error:
    raise UserError(f'{name} is not a record of checksums; remove it, or copy it again.') from error
  return _checked(wanted, str(name))


def read_json(path: str | os.PathLike) -> Any:
  """Reads a small JSON file.

  Raises:
    OSError: it cannot be read.
    ValueError: it is not JSON, is nested too deep, or has more than MAX_JSON bytes.
  """
  file = paths.to_path(path)
  with paths.answers(file):
    if (size := paths.size(file)) > MAX_JSON:
      raise ValueError(f'{size:,} bytes are more than {MAX_JSON:,}')
    content = file.read_bytes()
  try:
    return json.loads(content)
  except RecursionError as error:
    raise ValueError('it is nested too deep') from error


def check(
  path: str, content: bytes, parse: Callable[[], Mapping[str, np.ndarray]], wanted: Record | None
) -> None:
  """Compares a file with its record.

  Args:
    path: the file's, for the message.
    content: the file's bytes.
    parse: reads the content; called only after a mismatch, and may fail.
    wanted: the record; None is logged, and nothing is compared.

  Raises:
    UserError: the content differs; the message names the first array that does.
  """
  if wanted is None:
    log.info('%s has no checksums beside it; its content is not verified.', path)
    return
  _checked(wanted, path)
  if bytes_sha256(content) != wanted['sha256']:
    raise UserError(f'{path} is damaged: {_damage(parse, wanted)}; copy or download it again.')


def _damage(parse: Callable[[], Mapping[str, np.ndarray]], wanted: Record) -> str:
  try:
    found = parse()
  except Exception:  # a damaged file can make its parser raise anything
    return 'it cannot be read to its end and its sha256 is not the recorded one'
  for key, value in wanted['arrays'].items():
    if key not in found:
      return f'the array {key!r} is missing'
    if _array_sha256(found[key]) != value:
      return f'the sha256 of the array {key!r} is not the recorded one'
  return 'its header differs from the recorded one, its arrays do not'


def _array_sha256(array: np.ndarray) -> str:
  return bytes_sha256(np.ascontiguousarray(array).tobytes())


def _checked(wanted: Any, path: str) -> Record:
  if not (
    isinstance(wanted, Mapping) and isinstance(wanted.get('sha256'), str)
    and isinstance(wanted.get('arrays'), Mapping)
  ):
    raise UserError(
      f'{path}: its record of checksums lacks "sha256" or "arrays"; remove the record, or copy it '
      'again.'
    )
  return wanted
