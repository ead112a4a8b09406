"""Replaces the classifier of trained weights, for another number of classes, or drops it."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ecanet_jax.models.registry import create_from_config
from ecanet_jax.runtime.errors import UserError


def replace_classifier(
  section: Mapping[str, Any], variables: Mapping[str, Any], num_classes: int, *, seed: int = 0
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Initialises the classifier afresh and keeps all other arrays.

  Args:
    section: a recipe's `model` section.
    variables: {'params', 'batch_stats'} of that network.
    num_classes: of the new classifier.
    seed: for its initial values.

  Returns:
    The `model` section with the new number of classes, and the variables.

  Raises:
    UserError: `num_classes` is below 1.
  """
  if num_classes < 1:
    raise UserError(f'num_classes={num_classes} must be at least 1.')
  section = {**section, 'num_classes': num_classes}
  model = create_from_config(section)

  def fresh():  # under jit, XLA drops the initialisation of the other arrays
    images = jnp.zeros((1, 64, 64, model.in_chans))
    return model.init(jax.random.key(seed), images, train=False)['params']['classifier']

  params = {**variables['params'], 'classifier': jax.tree.map(np.asarray, jax.jit(fresh)())}
  return section, {**variables, 'params': params}


def drop_classifier(
  section: Mapping[str, Any], variables: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns the `model` section with `num_classes` = 0, and the variables without the classifier.

  The output of that network is the pooled features.
  """
  params = {name: arrays for name, arrays in variables['params'].items() if name != 'classifier'}
  return {**section, 'num_classes': 0}, {**variables, 'params': params}
