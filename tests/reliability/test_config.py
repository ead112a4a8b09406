"""Going on with another config: two columns of what changed, and a refusal of another network."""

import pytest

from configs import smoke
from ecanet_jax.config import difference
from ecanet_jax.models import create_from_config
from ecanet_jax.runtime.errors import UserError


def plain(**changes):
  config = smoke.get_config()
  config.update_from_flattened_dict(changes)
  return difference.plain(config)


def test_two_columns(heard):
  old, new = plain(), plain(**{'schedule.lr': 0.2, 'log_steps': 3, 'data.mean': (0.5, 0.5, 0.5)})
  difference.compare(old, new)
  (record,) = heard.records
  lines = record.getMessage().splitlines()
  assert lines[0] == "the config is not the checkpoint's:"
  columns = [[cell.strip() for cell in line.split('|')] for line in lines[1:-1]]
  assert columns[0] == [
    f'checkpoint {difference.config_hash(old)}', f'now {difference.config_hash(new)}'
  ]
  assert columns[1:] == [
    ['data.mean    [0.485, 0.456, 0.406]', '[0.5, 0.5, 0.5]'],
    ['log_steps    10', '3'], ['schedule.lr  0.4', '0.2'],
  ]
  assert lines[-1] == 'the result is not that of one training with either config'


def test_harmless_and_same(heard):
  difference.compare(plain(), plain())
  assert not heard.records and difference.config_hash(plain()) == difference.config_hash(plain())
  difference.compare(plain(), plain(**{'save_epochs': 1.0, 'ops.remat': 'blocks'}))
  assert heard.text.rstrip().endswith('none of these keys changes the result')


def check(**changes):
  new = plain(**changes)
  difference.check('W/checkpoints/8', plain(), new, create_from_config(new['model']))


@pytest.mark.parametrize(('key', 'value', 'said'), [
  ('model.activation', 'relu', 'model.activation swish | relu'),
  ('model.bn_eps', 0.1, 'model.bn_eps not set | 0.1'),
  ('optimizer.name', 'rmsprop_tf', 'optimizer.name sgd | rmsprop_tf'),
])
def test_refused(key, value, said):
  with pytest.raises(UserError) as error:
    check(**{key: value})
  text = str(error.value)
  assert text.startswith("W/checkpoints/8 cannot be gone on from with this config (checkpoint")
  assert said in text and '\n' not in text


@pytest.mark.parametrize('changes', [
  {'model.dropout': 0.5}, {'model.frozen_bn': True}, {'seed': 3}, {'epochs': 9.0},
  {'model.bn_groups': 2}, {'data.name': 'digits'},
])
def test_allowed(changes):
  check(**changes)


def test_a_config_of_another_version(heard):
  old = plain()
  del old['bad_steps']
  old['model']['name'] = 'a_network_of_before'
  new = plain()
  difference.check('W', old, new, create_from_config(new['model']))
  difference.compare(old, new)
  assert 'bad_steps   not set' in heard.text
