"""Random weights for the tests: every array is random, BatchNorm's statistics too."""

import numpy as np
from flax import traverse_util

from ecanet_jax.nn.parameter_shapes import variable_shapes


def random_variables(model, seed=0):
  """{'params', 'batch_stats'} of float32 arrays that keep activations and logits near 1."""
  random = np.random.default_rng(seed)
  variables = {}
  for path, shape in traverse_util.flatten_dict(variable_shapes(model)).items():
    size, name = shape.shape, path[-1]
    if name == 'var':
      value = random.uniform(0.5, 2.0, size)
    elif name == 'scale':
      value = random.uniform(0.7, 1.4, size)
    elif name in ('bias', 'mean'):
      value = random.normal(0, 0.2, size)
    else:  # kernels: [kh, kw, C] sums over kh * kw, the others over all but the last axis
      summed = size[:2] if len(size) == 3 else size[:-1] or size
      value = random.normal(0, (1.5 / np.prod(summed)) ** 0.5, size)
    variables[path] = value.astype(np.float32)
  return traverse_util.unflatten_dict(variables)
