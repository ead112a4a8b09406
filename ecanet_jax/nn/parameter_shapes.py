"""The shapes of a network's arrays, found by tracing its initialisation. Nothing is computed."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util

from ecanet_jax.runtime.errors import UserError, one_line

IMAGE_SIZE = 64  # pixels; few networks have arrays that depend on it


def trace_variables(model: nn.Module, image_size: int = IMAGE_SIZE) -> dict[str, Any]:
  """Traces a network's initialisation; the result is not cached.

  Args:
    model: from `create_model`.
    image_size: height and width of the images in pixels.

  Returns:
    {'params', 'batch_stats'} as nested dicts of `jax.ShapeDtypeStruct`.

  Raises:
    UserError: the network cannot be built from its fields.
  """

  def init():
    images = jnp.zeros((1, image_size, image_size, getattr(model, 'in_chans', 3)))
    return model.init(jax.random.key(0), images, train=False)

  try:
    return dict(jax.eval_shape(init))
  except UserError:
    raise
  except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
    raise UserError(
      f'no {type(model).__name__} can be built from these fields: {type(error).__name__}: '
      f'{one_line(error)}; check the model section.'
    ) from error


@functools.lru_cache(maxsize=16)
def variable_shapes(model: nn.Module, image_size: int = IMAGE_SIZE) -> dict[str, Any]:
  """`trace_variables`, cached; do not change the result."""
  return trace_variables(model, image_size)


def parameter_shapes(
  model: nn.Module, image_size: int = IMAGE_SIZE
) -> dict[str, tuple[int, ...]]:
  """Shapes of a network's parameters and statistics by path, such as 'params/stem/kernel'."""
  return flat_shapes(variable_shapes(model, image_size))


def flat_shapes(variables: Any) -> dict[str, tuple[int, ...]]:
  """The shapes of nested dicts of arrays or `jax.ShapeDtypeStruct`s, by path."""
  flat = traverse_util.flatten_dict(dict(variables), sep='/')
  return {path: tuple(leaf.shape) for path, leaf in flat.items()}
