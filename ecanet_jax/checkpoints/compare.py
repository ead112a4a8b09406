"""Compares the arrays of a checkpoint with those of the running network."""

from typing import Any

import jax
import numpy as np

from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.key_difference import key_difference

Tree = dict[str, Any]


def check_same(where, item: str, saved: Tree, wanted: Tree) -> None:
  """Checks the names, shapes and types of the arrays of one item.

  Args:
    where: the checkpoint, for the message.
    item: 'variables', 'ema' or 'optimizer'.
    saved: the arrays of the checkpoint.
    wanted: the arrays of the running network.

  Raises:
    UserError: they differ; the text names the first keys of each kind.
  """
  difference = key_difference(_arrays(wanted), _arrays(saved), 'shape or type')
  if difference:
    raise UserError(
      f'{where} is a checkpoint of another network or optimizer ({item}): {difference}. '
      'Train with its config, or give another --workdir.'
    )


def _arrays(tree) -> dict[str, str]:
  """Type and shape of each array by path, such as 'float32[3, 3, 3, 32]'."""
  tree = tree.tree if hasattr(tree, 'tree') else tree
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'):
      f'{np.dtype(leaf.dtype).name}{list(leaf.shape)}'
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }
