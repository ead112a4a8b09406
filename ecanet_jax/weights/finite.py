"""Refuses weights with NaN, infinity or a negative variance: such a network answers NaN."""

import os
import re
from collections.abc import Mapping

import numpy as np

from ecanet_jax.runtime.errors import UserError

# Last parts of the names of BatchNorm's variances: PyTorch's, Keras's and TensorFlow's, ours.
VARIANCE = ('running_var', 'moving_variance', 'moving_variance:0', 'var')


def not_finite(arrays: Mapping[str, np.ndarray]) -> str:
  """Says how many arrays hold NaN or infinity, and names the first; '' if none does."""
  bad = [key for key, array in arrays.items() if not np.isfinite(np.asarray(array)).all()]
  if not bad:
    return ''
  what = 'NaN' if np.isnan(np.asarray(arrays[bad[0]])).any() else 'infinity'
  return f'{len(bad)} of {len(arrays)} arrays hold NaN or infinity, first {bad[0]} ({what})'


def check_finite(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
  """Checks that all values are finite, and variances not negative.

  Args:
    path: of the weights, for the message.
    arrays: arrays by name.

  Raises:
    UserError: an array holds NaN or infinity, or a negative variance; the message has the first
      and their number.
  """
  if text := not_finite(arrays):
    raise UserError(
      f'{path}: {text}. Such weights are of a training that diverged; take an earlier checkpoint '
      'of it.'
    )
  negative = [
    key for key, array in arrays.items()
    if re.split('[./]', key)[-1] in VARIANCE and (np.asarray(array) < 0).any()
  ]
  if negative:
    raise UserError(
      f'{path}: {len(negative)} arrays hold negative variances, first {negative[0]}. They are '
      'damaged, or are not the variances of BatchNorm.'
    )
