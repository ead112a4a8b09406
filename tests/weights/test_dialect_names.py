"""The tables name every array of a network, once (all networks: tests/models/*_twins.py)."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from ecanet_jax import create_model
from ecanet_jax.nn.parameter_shapes import variable_shapes
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import dialects, layout
from ecanet_jax.weights.convert import entries


@pytest.mark.parametrize('name', [
  'tiny_efficientnet', 'efficientnet_b0', 'mobilenetv2_100', 'resnet18', 'ecaresnet26t',
])
def test_timm_names_are_a_bijection_without_leftovers(name):
  model = create_model(name)
  found, counters = entries(model, 'timm')
  keys = [entry.key for entry in found] + counters
  assert len(set(keys)) == len(keys)
  assert len({entry.path for entry in found}) == len(found)
  assert len(found) == len(jax.tree.leaves(variable_shapes(model)))
  params = [entry for entry in found if entry.path.startswith('params/')]
  assert sum(int(np.prod(entry.shape)) for entry in params) == sum(
    leaf.size for leaf in jax.tree.leaves(variable_shapes(model)['params'])
  )


@pytest.mark.parametrize('position', ['depthwise', 'end'])
@pytest.mark.parametrize('kind', ['se', 'eca', 'none'])
def test_every_attention_has_names(kind, position):
  model = create_model('tiny_efficientnet', attention={'kind': kind, 'position': position})
  keys = [entry.key for entry in entries(model, 'timm')[0]]
  assert {'se': 'blocks.1.0.se.conv_reduce.bias', 'eca': 'blocks.1.0.se.conv.weight'}.get(
    kind, 'conv_head.weight'
  ) in keys


@pytest.mark.parametrize('kind', ['se', 'none'])
def test_lukemelas_counts_blocks_through(kind):
  model = create_model('tiny_efficientnet', attention=kind)
  keys = [entry.key for entry in entries(model, 'lukemelas')[0]]
  assert len(set(keys)) == len(keys)
  assert '_blocks.3._project_conv.weight' in keys
  assert ('_blocks.0._se_reduce.weight' in keys) == (kind == 'se')


def test_lukemelas_has_no_eca():
  with pytest.raises(UserError, match=r"'lukemelas' has no name for .*attention/kernel and 3 "):
    entries(create_model('tiny_efficientnet'), 'lukemelas')


def test_unknown_dialect():
  with pytest.raises(UserError, match=r"unknown dialect 'tim'. Did you mean 'timm'\?"):
    entries(create_model('tiny_efficientnet'), 'tim')


def test_unknown_family():
  with pytest.raises(UserError, match='Dense has no names in other code'):
    dialects.family(nn.Dense(3))


def test_given_kinds_are_layouts():
  for family in dialects.FAMILIES.values():
    for dialect in family.dialects.values():
      assert set(dialect.kinds.values()) <= set(layout.KINDS)
      assert set(dialect.layouts) <= set(layout.KINDS)
