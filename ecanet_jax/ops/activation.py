"""Activations by name."""

from collections.abc import Callable

import jax

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
  'relu': jax.nn.relu,
  'relu6': jax.nn.relu6,
  'swish': jax.nn.swish,
  'hard_swish': jax.nn.hard_swish,
}


def activate(x: jax.Array, name: str) -> jax.Array:
  """Applies the activation `name` to every value; '' is the identity."""
  return ACTIVATIONS[name](x) if name else x
