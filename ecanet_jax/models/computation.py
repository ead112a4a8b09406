"""Compares networks by what they compute."""

import dataclasses
from collections.abc import Collection
from typing import Any

import flax.linen as nn

from ecanet_jax.nn.layers import PRESET

# Fields of a network that change neither its arrays nor its logits in evaluation. The number of
# classes is an argument on both sides.
FREE_FIELDS = frozenset(
  ('num_classes', 'dropout', 'drop_path', 'bn_groups', 'bn_decay', 'frozen_stages', 'frozen_bn',
   'zero_init_last', 'backend', 'remat', 'dtype', 'parent', 'name')
)


def other_fields(
  theirs: nn.Module, ours: nn.Module, free: Collection[str] = ()
) -> dict[str, tuple[Any, Any]]:
  """Returns the fields that make two networks compute different things, with both values.

  Args:
    theirs: a network.
    ours: another one, of any family.
    free: further fields that are not compared.
  """
  fields = [field.name for field in dataclasses.fields(ours)]
  values = {
    key: (_value(theirs, key), _value(ours, key))
    for key in fields if key not in FREE_FIELDS and key not in free
  }
  other = {key: pair for key, pair in values.items() if pair[0] != pair[1]}
  for key, (their, our) in list(other.items()):
    if isinstance(our, nn.Module) and type(their) is type(our):  # a detector's backbone
      del other[key]
      inside = other_fields(their, our, free)
      other |= {f'{key}.{name}': pair for name, pair in inside.items()}
  return other


def _value(model: nn.Module, key: str) -> Any:
  value = getattr(model, key, None)
  if key == 'attention' and value is not None and value.kind == 'none':
    return 'none'  # its other options have no effect
  if key == 'bn_eps' and value == PRESET[model.preset].bn_eps:
    return None  # the preset's
  return value
