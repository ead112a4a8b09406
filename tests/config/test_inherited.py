"""What a config takes from weights, and what the user has given."""

import pytest

from ecanet_jax.config import schema
from ecanet_jax.config.inherited import inherit, is_given

MODEL = {'name': 'tiny_efficientnet', 'attention': {'kind': 'se', 'k': None}, 'width': 2}
SECTIONS = {'model': MODEL, 'data': {'mean': [0.5, 0.4, 0.3], 'image_size': 64, 'unknown': 1}}


def configured(**changes):
  config = schema.get_config()
  config.update_from_flattened_dict(changes)
  return config


@pytest.mark.parametrize(('key', 'changes', 'given', 'answer'), [
  ('data.mean', {}, (), False),
  ('data.mean', {'data.mean': (0.5, 0.5, 0.5)}, (), True),
  ('data.mean', {}, ('data.mean',), True),
  ('model.width', {}, (), False),
  ('model.width', {'model.width': 1.0}, (), True),
])
def test_given(key, changes, given, answer):
  assert is_given(configured(**changes), key, given) == answer


def test_everything_that_is_not_given():
  config = configured()
  filled, lines = inherit(config, (), SECTIONS, 'W')
  assert config.to_json() == schema.get_config().to_json()
  assert (filled.model.name, filled.model.attention.kind) == ('tiny_efficientnet', 'se')
  assert filled.model.width == 2.0 and isinstance(filled.model.width, float)
  assert filled.data.mean == (0.5, 0.4, 0.3) and filled.data.image_size == 64
  assert filled.data.std == config.data.std
  assert lines == [
    'model.name=tiny_efficientnet, of W', 'model.attention.kind=se, of W', 'model.width=2.0, of W',
    'data.mean=(0.5, 0.4, 0.3), of W', 'data.image_size=64, of W',
  ]


def test_what_is_given_stays():
  config = configured(**{'data.image_size': 32})
  filled, _ = inherit(config, ['data.mean', 'model.width'], SECTIONS, 'W')
  assert filled.data.image_size == 32 and filled.data.mean == config.data.mean
  assert filled.model.name == 'tiny_efficientnet' and filled.model.width is None


def test_fields_of_another_network_are_not_taken():
  filled, lines = inherit(configured(**{'model.name': 'resnet18'}), (), SECTIONS, 'W')
  assert filled.model.name == 'resnet18' and filled.model.attention.kind is None
  assert not [line for line in lines if line.startswith('model.')]


def test_an_attention_that_is_a_name():
  sections = {**SECTIONS, 'model': {'name': 'tiny_efficientnet', 'attention': 'eca'}}
  assert inherit(configured(), (), sections, 'W')[0].model.attention.kind == 'eca'
