"""Weights of a network to and from a PyTorch state dict, in any dialect, with nothing skipped.

A state dict is a plain mapping of names to numpy arrays; this file needs no PyTorch. Variables of
TensorFlow, in a dialect with its names and layouts, are read as one (see tensorflow.py).
"""

import collections
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from flax import traverse_util

from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import dialects, key_difference, layout

Variables = dict[str, Any]

PREFIXES = ('module.', '_orig_mod.')  # what DistributedDataParallel and torch.compile add


@dataclasses.dataclass(frozen=True)
class Entry:
  """One array by both names.

  Attributes:
    key: in the state dict.
    path: in our variables, such as ('params', 'blocks_0_0', 'project', 'kernel').
    leaf: the layout, both ways.
    shape: ours.
  """

  key: str
  path: tuple[str, ...]
  leaf: layout.Leaf
  shape: tuple[int, ...]

  @property
  def their_shape(self) -> tuple[int, ...]:
    return self.leaf.their_shape(self.shape)


@functools.lru_cache(maxsize=16)
def model_shapes(model: nn.Module) -> Variables:
  """The model's variables as `jax.ShapeDtypeStruct`s; computes nothing."""

  def init():
    return model.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)), train=False)

  try:
    return dict(jax.eval_shape(init))
  except UserError:
    raise
  except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
    text = ' '.join(f'{type(error).__name__}: {error}'.split())[:160]
    raise UserError(f'the fields of this {type(model).__name__} make no network: {text}') from error


def entries(model: nn.Module, dialect: str = 'timm') -> tuple[list[Entry], list[str]]:
  """All arrays of the model in the dialect's order, and the keys of BatchNorm's counters.

  Raises:
    UserError: an unknown family or dialect, or a module that the dialect has no name for.
  """
  shapes = {path: leaf.shape for path, leaf in _flat(model_shapes(model)).items()}
  table = dialects.dialect_of(model, dialect)
  found, counters = [], []
  by_module = collections.defaultdict(dict)
  for (_, *module, array), shape in shapes.items():
    by_module['/'.join(module)][array] = shape
  for module in dialects.modules(model, dialect):
    kind = layout.kind_of(by_module[module.ours], module.kind)
    for leaf in table.layouts.get(kind, ()):
      path = (leaf.collection, *module.ours.split('/'), leaf.ours)
      if path in shapes:
        key = table.key(module.theirs, leaf.theirs)
        found.append(Entry(key, path, leaf, shapes.pop(path)))
        if leaf.theirs == 'running_var':
          counters.append(f'{module.theirs}.{layout.COUNTER}')
  if shapes:
    first = '/'.join(min(shapes))
    known = ', '.join(sorted(dialects.family(model).dialects))
    raise UserError(
      f'the dialect {dialect!r} has no name for {first} and {len(shapes) - 1} other arrays of this '
      f'network; choose another dialect. Known: {known}.'
    )
  return found, counters


def to_torch(
  model: nn.Module, variables: Mapping[str, Any], dialect: str = 'timm'
) -> dict[str, np.ndarray]:
  """Makes the PyTorch state dict of a network.

  Args:
    model: from `create_model`.
    variables: {'params', 'batch_stats'} nested dicts of arrays, of exactly the model's shapes.
    dialect: whose names, a key of the family's `names.Family.dialects`.

  Returns:
    Names to contiguous float32 arrays in the dialect's order, and int64 zeros for BatchNorm's
    `num_batches_tracked`.

  Raises:
    UserError: an unknown dialect, one that is for import only, or one whose code computes something
      else from these arrays; an array that the model lacks,
      has more, or has in another shape.
  """
  if dialects.dialect_of(model, dialect).import_only:
    tables = dialects.family(model).dialects
    known = (name for name, table in tables.items() if not table.import_only)
    raise UserError(
      f'the dialect {dialect!r} is for import only: it is no naming of PyTorch. For export: '
      f'{", ".join(sorted(known))}.'
    )
  found, counters = entries(model, dialect)
  dialects.check_fit(model, dialect)
  arrays = _flat(variables)
  key_difference.check(
    {'/'.join(entry.path): entry.shape for entry in found},
    {'/'.join(path): np.shape(array) for path, array in arrays.items()},
    what='the variables do not fit',
  )
  state = {}
  counters = iter(counters)
  for entry in found:
    array = np.asarray(arrays[entry.path], np.float32)
    state[entry.key] = np.ascontiguousarray(entry.leaf.to_theirs(array))
    if entry.leaf.theirs == 'running_var':
      state[next(counters)] = np.zeros((), np.int64)
  return state


def from_torch(
  model: nn.Module, state_dict: Mapping[str, np.ndarray], dialect: str = 'timm'
) -> Variables:
  """Makes a network's variables from a PyTorch state dict.

  `module.` and `_orig_mod.` before every key are removed, with a line in the log. BatchNorm's
  `num_batches_tracked` may be there or not and is dropped.

  Args:
    model: from `create_model`.
    state_dict: names to arrays (`tensor.numpy()`), of any floating type.
    dialect: whose names, a key of the family's `names.Family.dialects`.

  Returns:
    {'params', 'batch_stats'}: nested dicts of contiguous float32 arrays.

  Raises:
    UserError: an unknown dialect, or one whose code computes something else; a key that is missing,
      unexpected or of another shape. The text has the counts, the first keys, and the reason where
      it is plain to see.
  """
  found, counters = entries(model, dialect)
  dialects.check_fit(model, dialect)
  state = strip_prefixes(state_dict)
  shapes = {key: np.shape(array) for key, array in state.items()}
  key_difference.check(
    {entry.key: entry.their_shape for entry in found},
    {key: shape for key, shape in shapes.items() if key not in set(counters)},
    what='the state dict does not fit',
    hint=lambda: key_difference.hint(model, shapes, dialect),
  )
  variables = {}
  for entry in found:
    array = entry.leaf.to_ours(np.asarray(state[entry.key]))
    variables[entry.path] = np.array(array, np.float32, order='C')  # not a view of the file's bytes
  tree = traverse_util.unflatten_dict(variables)
  return {'params': tree['params'], 'batch_stats': tree.get('batch_stats', {})}


def strip_prefixes(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Removes the wrappers' prefixes that every key has, and logs that it did."""
  state = dict(state_dict)
  while state:
    prefix = next((p for p in PREFIXES if all(key.startswith(p) for key in state)), None)
    if prefix is None:
      break
    logging.warning('Removed the prefix %r from all %d keys of the state dict.', prefix, len(state))
    state = {key.removeprefix(prefix): array for key, array in state.items()}
  return state


def count_classes(
  model: nn.Module, state_dict: Mapping[str, np.ndarray], dialect: str = 'timm'
) -> int | None:
  """The number of classes in a state dict, from its classifier's bias; None where it has none."""
  theirs = [m.theirs for m in dialects.modules(model, dialect) if m.ours == 'classifier']
  key = dialects.dialect_of(model, dialect).key(theirs[0], 'bias') if theirs else ''
  bias = strip_prefixes(state_dict).get(key)
  return None if bias is None or np.ndim(bias) != 1 else len(bias)


def _flat(tree: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
  return traverse_util.flatten_dict(dict(tree))

