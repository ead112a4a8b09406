"""Checksums of weights, beside them: a flipped bit in an array is otherwise read without a word.

A safetensors file protects its header alone, and Orbax and timm read what is there. The record is
JSON: `{"sha256": of the file, "arrays": {name: sha256 of its bytes}}`, in FILE.json beside a file
and in the `ecanet_jax` section of a folder's config.json.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ecanet_jax.runtime.errors import UserError

log = logging.getLogger('ecanet_jax')

Record = dict[str, Any]
MAX_JSON = 2**24  # bytes: the names of 100,000 classes are a tenth of it


def record(content: bytes, state_dict: Mapping[str, np.ndarray]) -> Record:
  """The checksums of a file.

  Args:
    content: of the file.
    state_dict: what is in it.
  """
  return {
    'sha256': hashlib.sha256(content).hexdigest(),
    'arrays': {key: _of_array(array) for key, array in state_dict.items()},
  }


def beside(path: str | os.PathLike) -> str:
  """The name of the record of a single file."""
  return f'{path}.json'


def read_record(path: str | os.PathLike) -> Record | None:
  """The record beside a file, None where there is none.

  Raises:
    UserError: a record that cannot be read.
  """
  name = beside(path)
  if not os.path.exists(name):
    return None
  try:
    wanted = read_json(name)
  except (OSError, ValueError) as error:
    raise UserError(f'{name} is not a record of checksums; remove it, or copy it again.') from error
  return _checked(wanted, name)


def read_json(path: str | os.PathLike) -> Any:
  """The JSON in a file.

  Raises:
    OSError: it cannot be read.
    ValueError: it is no JSON, nested too deep, or larger than what describes weights.
  """
  if (size := os.path.getsize(path)) > MAX_JSON:
    raise ValueError(f'{size:,} bytes are more than {MAX_JSON:,}')
  with open(path, encoding='utf-8') as file:
    try:
      return json.load(file)
    except RecursionError as error:
      raise ValueError('it is nested too deep') from error


def check(
  path: str, content: bytes, parse: Callable[[], Mapping[str, np.ndarray]], wanted: Record | None
) -> None:
  """Compares a file with its record.

  Args:
    path: of the file, for the message.
    content: of the file.
    parse: reads the content; called only after a mismatch, and may fail.
    wanted: the record; without one the log says that nothing was compared.

  Raises:
    UserError: the content is another; the text names the first array that differs.
  """
  if wanted is None:
    log.info('%s has no checksums beside it: its content is taken as it is.', path)
    return
  _checked(wanted, path)
  if hashlib.sha256(content).hexdigest() == wanted['sha256']:
    return
  raise UserError(f'{path} is damaged: {_what(parse, wanted)}; copy or download it again.')


def _what(parse, wanted: Record) -> str:
  try:
    found = parse()
  except Exception:  # whatever a damaged file makes of its parser
    return 'it cannot be read to its end and its sha256 is not the recorded one'
  for key, value in wanted['arrays'].items():
    if key not in found:
      return f'the array {key!r} is missing'
    if _of_array(found[key]) != value:
      return f'the sha256 of the array {key!r} is not the recorded one'
  return 'its header is not the recorded one, though every array is'


def _of_array(array: np.ndarray) -> str:
  return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _checked(wanted: Any, path) -> Record:
  if not (
    isinstance(wanted, Mapping) and isinstance(wanted.get('sha256'), str)
    and isinstance(wanted.get('arrays'), Mapping)
  ):
    raise UserError(f'{path}: the record of its checksums has no "sha256" and "arrays".')
  return wanted
