"""One batch in several parts: the means of what each gives, in the memory of one."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

Tree = TypeVar('Tree')


def mean_of_parts(
  compute: Callable[[dict, jax.Array], Tree], parts: int, batch: dict, key: jax.Array
) -> Tree:
  """The mean over the parts of a batch of `compute(part, key)`; call it under jit.

  Of a loss that is a mean over images, and of its gradient, this is the whole batch's. BatchNorm's
  running statistics are decay * old + (1 - decay) * (mean over the groups of the batch's own), and
  every part starts from the same old ones: their mean over parts of equally many groups is what the
  whole batch gives with all the groups.

  Args:
    compute: arrays of floating type, from a part and its own key.
    parts: how many; 1 = `compute(batch, key)`.
    batch: arrays `[parts, b, ...]`; `[b, ...]` for 1.
    key: of what is random; part i gets fold_in(key, i).
  """
  if parts == 1:
    return compute(batch, key)

  def add(total: Tree, part: tuple[jax.Array, dict]) -> tuple[Tree, None]:
    number, rows = part
    return jax.tree.map(jnp.add, total, compute(rows, jax.random.fold_in(key, number))), None

  first = jax.tree.map(lambda array: array[0], batch)
  zeros = jax.tree.map(
    lambda value: jnp.zeros(value.shape, value.dtype), jax.eval_shape(compute, first, key)
  )
  total, _ = jax.lax.scan(add, zeros, (jnp.arange(parts), batch))
  return jax.tree.map(lambda value: value / parts, total)
