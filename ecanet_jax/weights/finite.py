"""Refuses weights that hold NaN or infinity: such a network answers NaN to every image."""

import os
from collections.abc import Mapping

import numpy as np

from ecanet_jax.runtime.errors import UserError


def check_finite(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
  """Checks that all values are finite.

  Args:
    path: of the weights, for the message.
    arrays: arrays by name.

  Raises:
    UserError: an array holds NaN or infinity; the message has the first and their number.
  """
  bad = [key for key, array in arrays.items() if not np.isfinite(np.asarray(array)).all()]
  if bad:
    what = 'NaN' if np.isnan(np.asarray(arrays[bad[0]])).any() else 'infinity'
    raise UserError(
      f'{path}: {len(bad)} of {len(arrays)} arrays hold NaN or infinity, first {bad[0]} ({what}). '
      'Such weights are of a training that diverged; take an earlier checkpoint of it.'
    )
