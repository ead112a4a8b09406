"""The arrays of a checkpoint against those of the running network."""

from typing import Any

import jax
import numpy as np

from ecanet_jax.runtime.errors import UserError

Tree = dict[str, Any]


def check_same(where, item: str, saved: Tree, wanted: Tree) -> None:
  """Compares the names, shapes and types of the arrays of one item.

  Args:
    where: the checkpoint, for the message.
    item: 'variables', 'ema' or 'optimizer'.
    saved: the arrays of the checkpoint.
    wanted: the arrays of the running network.

  Raises:
    UserError: they differ; the text names the first keys of each kind of difference.
  """
  ours, theirs = _leaves(wanted), _leaves(saved)
  missing = [key for key in ours if key not in theirs]
  extra = [key for key in theirs if key not in ours]
  other = [
    f'{key} is {_kind(theirs[key])}, not {_kind(ours[key])}'
    for key in ours if key in theirs and _kind(theirs[key]) != _kind(ours[key])
  ]
  if missing or extra or other:
    found = {'missing': missing, 'unexpected': extra, 'different': other}
    parts = [
      f'{len(names)} {text}: {", ".join(names[:3])}' for text, names in found.items() if names
    ]
    raise UserError(
      f'{where} is a checkpoint of another network or optimizer ({item}): {"; ".join(parts)}. '
      'Train with its config, or give another --workdir.'
    )


def _leaves(tree) -> dict[str, Any]:
  tree = tree.tree if hasattr(tree, 'tree') else tree
  flat, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {'/'.join(_key_name(key) for key in path): leaf for path, leaf in flat}


def _key_name(key) -> str:
  for field in ('key', 'name', 'idx'):
    if hasattr(key, field):
      return str(getattr(key, field))
  return str(key)


def _kind(leaf) -> str:
  return f'{np.dtype(leaf.dtype).name}{list(leaf.shape)}'
