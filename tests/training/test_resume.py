"""Another network or optimizer than the checkpoint's is refused, even with the same arrays."""

import pytest

from configs import smoke
from ecanet_jax.config import trees
from ecanet_jax.models import create_from_config
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.training import resume


def plain(**changes):
  config = smoke.get_config()
  config.update_from_flattened_dict(changes)
  return trees.plain(config)


def check(**changes):
  new = plain(**changes)
  resume.check('W/checkpoints/8', plain(), new, create_from_config(new['model']))


@pytest.mark.parametrize(('key', 'value', 'said'), [
  ('model.activation', 'relu', 'model.activation swish | relu'),
  ('model.bn_eps', 0.1, 'model.bn_eps not set | 0.1'),
  ('optimizer.name', 'rmsprop_tf', 'optimizer.name sgd | rmsprop_tf'),
])
def test_refused(key, value, said):
  with pytest.raises(UserError) as error:
    check(**{key: value})
  text = str(error.value)
  assert text.startswith('W/checkpoints/8 does not fit this config (checkpoint | now): ')
  assert said in text and '\n' not in text


@pytest.mark.parametrize('changes', [
  {'model.dropout': 0.5}, {'model.frozen_bn': True}, {'seed': 3}, {'epochs': 9.0},
  {'model.bn_groups': 2}, {'data.name': 'digits'},
])
def test_allowed(changes):
  check(**changes)


def test_a_network_of_another_version():
  old, new = plain(), plain()
  old['model']['name'] = 'a_network_of_before'
  resume.check('W', old, new, create_from_config(new['model']))
