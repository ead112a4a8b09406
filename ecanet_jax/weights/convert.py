"""Converts weights to and from PyTorch state dicts, in any dialect. No array is ever skipped.

A state dict is a mapping of names to numpy arrays; this module does not need PyTorch. Variables of
TensorFlow are read the same way, through a dialect with TensorFlow's names and layouts (see
files/tensorflow.py).
"""

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np
from flax import traverse_util

from ecanet_jax.nn.parameter_shapes import flat_shapes, parameter_shapes
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.key_difference import check_keys
from ecanet_jax.weights import dialects, layout, prefixes
from ecanet_jax.weights.mismatch_hint import hint

Variables = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Entry:
  """One array under both names.

  Attributes:
    key: its name in the state dict.
    path: its path in our variables, such as 'params/blocks_0_0/project/kernel'.
    leaf: its layout on both sides.
    shape: its shape on our side.
  """

  key: str
  path: str
  leaf: layout.Leaf
  shape: tuple[int, ...]

  @property
  def their_shape(self) -> tuple[int, ...]:
    return self.leaf.their_shape(self.shape)


def entries(model: nn.Module, dialect: str = 'timm') -> tuple[list[Entry], list[str]]:
  """Lists all arrays of the model in the dialect's order, and the keys of BatchNorm's counters.

  Raises:
    UserError: an unknown family or dialect, or a module that the dialect has no name for.
  """
  shapes = parameter_shapes(model)
  table = dialects.dialect_of(model, dialect)
  found, counters = [], []
  by_module = collections.defaultdict(dict)
  for path, shape in shapes.items():
    module, _, array = path.partition('/')[2].rpartition('/')
    by_module[module][array] = shape
  for module in dialects.modules(model, dialect):
    kind = layout.kind_of(by_module[module.ours], module.kind)
    for leaf in table.layouts.get(kind, ()):
      path = f'{leaf.collection}/{module.ours}/{leaf.ours}'
      if path in shapes:
        key = table.key(module.theirs, leaf.theirs)
        found.append(Entry(key, path, leaf, shapes.pop(path)))
        if leaf.theirs == 'running_var':
          counters.append(f'{module.theirs}.{layout.COUNTER}')
  if shapes:
    known = ', '.join(sorted(dialects.family(model).dialects))
    raise UserError(
      f'the dialect {dialect!r} has no name for {min(shapes)} and {len(shapes) - 1} other arrays '
      f'of this network; choose another dialect. Known: {known}.'
    )
  return found, counters


def to_torch(
  model: nn.Module, variables: Mapping[str, Any], dialect: str = 'timm'
) -> dict[str, np.ndarray]:
  """Converts a network's variables to a PyTorch state dict.

  Args:
    model: from `create_model`.
    variables: {'params', 'batch_stats'}, nested dicts of arrays with exactly the model's shapes.
    dialect: the code whose names to use, a key of `dialects.Family.dialects`.

  Returns:
    Contiguous float32 arrays by name, in the dialect's order, and an int64 zero for each
    `num_batches_tracked` of BatchNorm.

  Raises:
    UserError: an unknown dialect, one that is only for import, or one whose code computes something
      else with these arrays; an array that is missing, unexpected or of another shape.
  """
  if dialects.dialect_of(model, dialect).import_only:
    tables = dialects.family(model).dialects
    known = (name for name, table in tables.items() if not table.import_only)
    raise UserError(
      f'the dialect {dialect!r} is for import only. For export: '
      f'{", ".join(sorted(known))}.'
    )
  found, counters = entries(model, dialect)
  dialects.check_fit(model, dialect)
  check_keys(
    {entry.path: entry.shape for entry in found}, flat_shapes(variables),
    'the variables do not fit',
  )
  arrays = traverse_util.flatten_dict(dict(variables), sep='/')
  state = {}
  counters = iter(counters if dialects.dialect_of(model, dialect).counters else ())
  for entry in found:
    array = np.asarray(arrays[entry.path], np.float32)
    state[entry.key] = np.ascontiguousarray(entry.leaf.to_theirs(array))
    if entry.leaf.theirs == 'running_var' and (counter := next(counters, '')):
      state[counter] = np.zeros((), np.int64)
  return state


def from_torch(
  model: nn.Module, state_dict: Mapping[str, np.ndarray], dialect: str = 'timm'
) -> Variables:
  """Converts a PyTorch state dict to a network's variables.

  Prefixes of other modules are removed, as `own_arrays` does. BatchNorm's `num_batches_tracked` is
  optional and is dropped.

  Args:
    model: from `create_model`.
    state_dict: arrays (`tensor.numpy()`) of any floating type, by name.
    dialect: the code whose names they are, a key of `dialects.Family.dialects`.

  Returns:
    'params' and 'batch_stats', nested dicts of contiguous float32 arrays.

  Raises:
    UserError: an unknown dialect, or one whose code computes something else; a key that is missing,
      unexpected or of another shape. The message gives the counts, the first keys, and the likely
      cause where there is one.
  """
  found, counters = entries(model, dialect)
  dialects.check_fit(model, dialect)
  state = own_arrays(model, state_dict, dialect)
  shapes = {key: np.shape(array) for key, array in state.items()}
  check_keys(
    {entry.key: entry.their_shape for entry in found},
    {key: shape for key, shape in shapes.items() if key not in set(counters)},
    'the state dict does not fit',
    hint=lambda: hint(model, shapes, dialect),
  )
  variables = {}
  for entry in found:
    array = np.asarray(state[entry.key])
    if array.dtype.kind not in 'biufV':  # V: bfloat16 and float8
      raise UserError(f'{entry.key} is an array of {array.dtype}, not of numbers.')
    array = entry.leaf.to_ours(array)
    variables[entry.path] = np.array(array, np.float32, order='C')  # not a view of the file's bytes
  tree = traverse_util.unflatten_dict(variables, sep='/')
  return {'params': tree['params'], 'batch_stats': tree.get('batch_stats', {})}


def own_arrays(
  model: nn.Module, state_dict: Mapping[str, np.ndarray], dialect: str = 'timm', kind: str = 'ema'
) -> dict[str, np.ndarray]:
  """Finds a network's arrays in the state dict of a larger module, and removes the prefix.

  Args:
    model: the network; its number of classes does not matter.
    state_dict: arrays by key.
    dialect: the code whose names they are.
    kind: where there are two: 'ema' = the averaged weights, 'raw' = those as trained.

  Returns:
    The arrays under the keys of the dialect, and other arrays with the same prefix.

  Raises:
    UserError: an unknown dialect, or several networks that fit.
  """
  found, _ = entries(model, dialect)
  head = classifier_keys(model, dialect)
  return prefixes.take_off(
    state_dict, [entry.key for entry in found if entry.key not in head], head, kind,
    dialects.dialect_of(model, dialect).separator,
  )


def classifier_keys(model: nn.Module, dialect: str = 'timm') -> tuple[str, ...]:
  """Returns the keys of the classifier's kernel and bias; () where the dialect has none."""
  table = dialects.dialect_of(model, dialect)
  return tuple(
    table.key(module.theirs, leaf.theirs)
    for module in dialects.modules(model, dialect) if module.ours == 'classifier'
    for leaf in table.layouts['dense']
  )


def count_classes(
  model: nn.Module, state_dict: Mapping[str, np.ndarray], dialect: str = 'timm'
) -> int | None:
  """Returns the number of classes in a state dict, from its classifier's bias; None without one."""
  keys = classifier_keys(model, dialect)
  bias = own_arrays(model, state_dict, dialect).get(keys[-1]) if keys else None
  return None if bias is None or np.ndim(bias) != 1 else len(bias)
