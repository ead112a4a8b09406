"""The weight of each class in the loss."""

import numpy as np

from ecanet_jax.data import Dataset
from ecanet_jax.runtime.errors import UserError


def class_weights(config, dataset: Dataset) -> tuple[float, ...]:
  """The factor of each class in the loss; () if all are 1.

  With `loss.balanced` the factor is n / (classes * n_c) for n_c of n training images in the class
  (King and Zeng 2001; `balanced` in scikit-learn). All classes then have the same total weight, and
  the mean over the images is 1.

  Args:
    config: the whole config.
    dataset: the opened data set.

  Raises:
    UserError: the number of factors is not that of the classes, a factor is negative or not finite,
      a class has no images, both keys are given, or the data set has several labels per image.
  """
  section, num_classes = config.loss, dataset.info.num_classes
  given = tuple(section.class_weights)
  if section.balanced:
    if dataset.info.multi_label:
      raise UserError(
        'loss.balanced is for one label per image: set it to False, or give loss.class_weights.'
      )
    if given:
      raise UserError('loss.balanced computes loss.class_weights; set one of them.')
    counts = dataset.label_counts()
    empty = np.flatnonzero(counts == 0)
    if empty.size:
      raise UserError(
        f'loss.balanced: {empty.size} of {num_classes} classes have no image in '
        f'{config.data.train_split!r}, class {empty[0]} first; give loss.class_weights.'
      )
    return tuple((counts.sum() / (len(counts) * counts)).tolist())
  if given:
    if len(given) != num_classes:
      raise UserError(
        f'loss.class_weights has {len(given)} factors and the data set {num_classes} classes; '
        'give one for each.'
      )
    wrong = [weight for weight in given if not 0 <= weight < float('inf')]
    if wrong or not any(given):
      raise UserError(
        f'loss.class_weights: {wrong[0] if wrong else given} must be at least 0 and finite, and '
        'one factor above 0.'
      )
  return given
