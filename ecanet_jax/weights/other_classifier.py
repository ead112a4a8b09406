"""Weights without a classifier of ours: usable as a start of a training, and for features.

People replace a classifier by other layers, such as `fc = Sequential(Dropout, Linear)`. The state
dict shows only layers with arrays, so what such a classifier computes is not known.
"""

import re
from collections.abc import Mapping

import flax.linen as nn
import numpy as np

from ecanet_jax.runtime.log import log
from ecanet_jax.weights import dialects
from ecanet_jax.weights.convert import classifier_keys, entries

USES = 'its output is the pooled features, and a training gets a new classifier'


def settle_classifier(
  path: str, model: nn.Module, state: Mapping[str, np.ndarray], dialect: str
) -> tuple[dict[str, np.ndarray], int]:
  """Returns the state dict with a classifier of ours or none, and the number of classes.

  A classifier without bias gets zeros, and one that is a 1x1 convolution becomes a matrix, which
  computes the same. Any other one is left out, and the log says so.

  Args:
    path: of the weights, for the log.
    model: a network with a classifier; its number of classes does not matter.
    state: the network's arrays, from `own_arrays`.
    dialect: the code whose names they are.

  Returns:
    The arrays, and the number of classes; 0 = no classifier. Where other arrays differ, too, all of
    them and the model's number, so that the comparison of all keys names them.
  """
  state, keys = dict(state), classifier_keys(model, dialect)
  found, counters = entries(model, dialect)
  kernel = next((entry for entry in found if keys and entry.key == keys[0]), None)
  if kernel is None:
    return state, model.num_classes
  weight = state.get(keys[0])
  if np.ndim(weight) == 4 and np.shape(weight)[2:] == (1, 1) and weight.shape[1] == kernel.shape[0]:
    weight = state[keys[0]] = weight[:, :, 0, 0]
  for classes in set(np.shape(weight)):
    if kernel.leaf.their_shape((kernel.shape[0], classes)) == np.shape(weight):
      if keys[1] not in state:
        log.warning('%s: its classifier has no bias; it gets zeros.', path)
        state[keys[1]] = np.zeros(classes, np.float32)
      return state, classes
  own = {entry.key for entry in found if entry.key not in keys}
  others = [key for key in state if key not in own | set(counters)]
  if own - set(state) or not all(_is_outside(key, keys[0], own, dialect, model) for key in others):
    return state, model.num_classes
  if others:
    listed = ', '.join(others[:3]) + (', ...' if len(others) > 3 else '')
    log.warning('%s: its classifier is another one and is not read (%s); %s.', path, listed, USES)
  else:
    log.warning('%s has no classifier; %s.', path, USES)
  return {key: array for key, array in state.items() if key not in others}, 0


def _is_outside(key: str, kernel: str, own: set[str], dialect: str, model: nn.Module) -> bool:
  """Whether an array belongs to the classifier or to a module that no block can be."""
  separator = dialects.dialect_of(model, dialect).separator
  if key.startswith(kernel.rpartition(separator)[0] + separator):
    return True
  kind = lambda name: re.sub(r'\d+[a-z]?', '#', name.partition(separator)[0])
  return kind(key) not in set(map(kind, own))
