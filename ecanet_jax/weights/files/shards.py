"""Weights in several files, and the index that says which array is in which file.

Hugging Face's libraries write `model.safetensors.index.json` beside `model-00001-of-00002`, or
`pytorch_model.bin.index.json` (huggingface_hub, serialization): `{"weight_map": {array: file}}`.
"""

import os
from collections.abc import Mapping

import numpy as np

from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights.files import checksum

SUFFIX = '.index.json'


def files_of(index: str) -> dict[str, str]:
  """Reads an index.

  Args:
    index: the path of the index.

  Returns:
    Name of each array -> the path of its file, in the index's directory.

  Raises:
    UserError: it is no such index, or names a file that is missing or in another directory.
  """
  try:
    found = checksum.read_json(index)['weight_map']
    files = {str(key): str(file) for key, file in found.items()}
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise UserError(
      f'{index} is not an index of weights, which has "weight_map": {{array: file}}.'
    ) from error
  folder = paths.to_path(index).parent
  for file in sorted(set(files.values())):
    if file in ('', '.', '..') or os.path.basename(file) != file or file.endswith(SUFFIX):
      raise UserError(f'{index} names {file!r}, which is not a file of weights beside it.')
    with paths.answers(folder):
      if not (folder / file).is_file():
        raise UserError(f'{index} names {file!r}, which is missing; download that file, too.')
  return {key: str(folder / file) for key, file in files.items()}


def joined(
  index: str, files: Mapping[str, str], content: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
  """Joins the arrays of all files.

  Args:
    index: the path of the index, for messages.
    files: of `files_of`.
    content: path of each file -> its arrays.

  Raises:
    UserError: a file has other arrays than the index says.
  """
  for file, arrays in content.items():
    wanted = {key for key, of in files.items() if of == file}
    if wanted != set(arrays):
      first = min(wanted ^ set(arrays))
      where = 'lacks' if first in wanted else 'has, unlike the index,'
      raise UserError(f'{index}: {file} {where} the array {first!r}; the files are of two exports.')
  return {key: content[file][key] for key, file in files.items()}
