"""Class labels: checks and counts."""

from collections.abc import Iterator

import numpy as np

from ecanet_jax.data.types import Batch
from ecanet_jax.runtime.errors import UserError


def check_labels(labels: np.ndarray, num_classes: int) -> None:
  """Raises UserError if a label is outside 0..num_classes - 1. The loss would not notice.

  Args:
    labels: int32 [n], or bool [n, num_classes] for several labels, which cannot be wrong.
    num_classes: of the data set.
  """
  if labels.ndim == 2:
    return
  wrong = labels[(labels < 0) | (labels >= num_classes)]
  if wrong.size:
    raise UserError(
      f'the training split has an image with label {wrong[0]}; labels must be from 0 to '
      f'{num_classes - 1}. Take another data.train_split, or prepare the data set again.'
    )


def with_checked_labels(batches: Iterator[Batch], num_classes: int) -> Iterator[Batch]:
  """Yields the batches and checks the labels of each; see `check_labels`."""
  for batch in batches:
    check_labels(batch['label'], num_classes)
    yield batch


def count_labels(labels: np.ndarray, num_classes: int) -> np.ndarray:
  """Returns the number of images of each class, int64 [num_classes]; labels are checked."""
  check_labels(labels, num_classes)
  if labels.ndim == 2:
    return labels.sum(0, dtype=np.int64)
  return np.bincount(labels, minlength=num_classes)
