"""Refuses weights that hold NaN or infinity: such a network answers NaN to every image."""

import os
from collections.abc import Mapping

import numpy as np

from ecanet_jax.runtime.errors import UserError


def not_finite(arrays: Mapping[str, np.ndarray]) -> str:
  """Says how many arrays hold NaN or infinity, and names the first; '' if none does."""
  bad = [key for key, array in arrays.items() if not np.isfinite(np.asarray(array)).all()]
  if not bad:
    return ''
  what = 'NaN' if np.isnan(np.asarray(arrays[bad[0]])).any() else 'infinity'
  return f'{len(bad)} of {len(arrays)} arrays hold NaN or infinity, first {bad[0]} ({what})'


def check_finite(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
  """Checks that all values are finite.

  Args:
    path: of the weights, for the message.
    arrays: arrays by name.

  Raises:
    UserError: an array holds NaN or infinity; the message has the first and their number.
  """
  if text := not_finite(arrays):
    raise UserError(
      f'{path}: {text}. Such weights are of a training that diverged; take an earlier checkpoint '
      'of it.'
    )
