"""Gradient accumulation: a batch is computed part by part, with the memory of one part."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ecanet_jax.runtime.errors import UserError

Tree = TypeVar('Tree')


def mean_of_parts(
  compute: Callable[[dict, jax.Array], Tree], parts: int, batch: dict, key: jax.Array
) -> Tree:
  """The mean of `compute(part, key)` over the parts of a batch; call it under jit.

  This is the value of the whole batch for a loss that is a mean over images, for its gradient, and
  for BatchNorm's running statistics: decay * old + (1 - decay) * (mean over the groups of the
  batch), where every part starts from the same old values.

  Args:
    compute: maps a part and its random key to a tree of floating-point arrays.
    parts: number of parts; 1 = `compute(batch, key)`.
    batch: arrays `[parts, b, ...]`; `[b, ...]` for one part.
    key: random key; part i gets fold_in(key, i).
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


def check_parts(config, mesh: Mesh) -> None:
  """Raises UserError unless `accumulate` divides the rows of each device and BatchNorm's groups."""
  parts, devices, groups = config.accumulate, mesh.devices.size, config.model.bn_groups
  if config.batch_size % (parts * devices):
    raise UserError(
      f'batch_size={config.batch_size} must be a multiple of accumulate={parts} times '
      f'{devices} devices.'
    )
  if groups % parts and not config.model.frozen_bn:
    raise UserError(
      f'accumulate={parts} must divide model.bn_groups={groups}: BatchNorm sees one part at a '
      f'time; set --config.model.bn_groups={parts} for the statistics of each part.'
    )
