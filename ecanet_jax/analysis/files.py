"""The files of an analysis: a table as CSV, and arrays (.npz) that the picture is drawn from."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError

Arrays: TypeAlias = Mapping[str, np.ndarray]

ENDING = '.npz'
KIND = 'kind'  # the array with the name of the analysis


def write_table(
  path: paths.Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
  """Writes a CSV file; floating point numbers have all their digits."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(columns)
  for row in rows:
    writer.writerow(
      [repr(float(cell)) if isinstance(cell, float | np.floating) else cell for cell in row]
    )
  paths.write_whole(path, text.getvalue())


def write_arrays(path: paths.Path, kind: str, arrays: Arrays) -> None:
  """Writes the arrays of an analysis as .npz; `kind` is its name."""
  content = io.BytesIO()
  np.savez_compressed(content, **{KIND: np.array(kind), **arrays})
  paths.write_whole(path, content.getvalue())


def read_arrays(path: str, kind: str) -> dict[str, np.ndarray]:
  """Reads what `write_arrays` has written.

  Raises:
    UserError: there is no such file, or it is not of this kind of analysis.
  """
  try:
    with np.load(paths.to_read(path), allow_pickle=False) as file:
      arrays = dict(file)
  except FileNotFoundError as error:
    raise UserError(f'{path}: no such file.') from error
  except Exception as error:  # of zipfile and NumPy, of many types
    raise UserError(f'{path} is damaged, or no file of an analysis.') from error
  found = str(arrays.pop(KIND, ''))
  if found != kind:
    raise UserError(
      f'{path} is of the analysis {found!r}, not {kind!r}; write analyse {found} {path}.'
      if found else f'{path} is no file of an analysis; write analyse {kind} WORKDIR.'
    )
  return arrays


def is_arrays(name: str) -> bool:
  """Whether a name on the command line is a file of arrays, not a network."""
  return name.endswith(ENDING) and KIND in _names(name)


def _names(path: str) -> list[str]:
  try:
    with np.load(paths.to_read(path), allow_pickle=False) as file:
      return list(file)
  except Exception:  # whoever reads it as weights says what is wrong
    return []
