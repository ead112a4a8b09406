"""The best rows of a set."""

import jax
import jax.numpy as jnp
from jax import lax


def best_rows(scores: jax.Array, keep: jax.Array, number: int,
              *others: jax.Array) -> tuple[jax.Array, ...]:
  """The kept rows of the highest scores; if there are fewer, rows of zeros follow.

  Args:
    scores: `[N]`.
    keep: `[N]`, which rows may be taken.
    number: of rows.
    *others: `[N, ...]`, of which the same rows are taken.

  Returns:
    Scores `[number]`, which rows count `[number]`, and the rows of each of `others`.
  """
  count = min(number, scores.shape[0])
  top, index = lax.top_k(jnp.where(keep, scores, -jnp.inf), count)
  valid = top > -jnp.inf

  def rows(x: jax.Array) -> jax.Array:
    shape = (-1,) + (1,) * (x.ndim - 1)
    taken = jnp.where(valid.reshape(shape), x[index], jnp.zeros_like(x[:1]))
    return jnp.pad(taken, ((0, number - count),) + ((0, 0),) * (x.ndim - 1))

  return rows(scores), jnp.pad(valid, (0, number - count)), *(rows(x) for x in others)
