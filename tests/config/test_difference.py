"""Going on with another config: two columns of what changed."""

from configs import smoke
from ecanet_jax.config import difference, schema, trees


def plain(**changes):
  config = smoke.get_config()
  config.update_from_flattened_dict(changes)
  return trees.plain(config)


def test_two_columns(heard):
  old, new = plain(), plain(**{'schedule.lr': 0.2, 'log_steps': 3, 'data.mean': (0.5, 0.5, 0.5)})
  difference.compare(old, new)
  (record,) = heard.records
  lines = record.getMessage().splitlines()
  assert lines[0] == "the config is not the checkpoint's:"
  columns = [[cell.strip() for cell in line.split('|')] for line in lines[1:-1]]
  assert columns[0] == [
    f'checkpoint {trees.config_hash(old)}', f'now {trees.config_hash(new)}'
  ]
  assert columns[1:] == [
    ['data.mean    [0.485, 0.456, 0.406]', '[0.5, 0.5, 0.5]'],
    ['log_steps    10', '3'], ['schedule.lr  0.4', '0.2'],
  ]
  assert lines[-1] == 'the result is not that of one training with either config'


def test_harmless_and_same(heard):
  difference.compare(plain(), plain())
  assert not heard.records and trees.config_hash(plain()) == trees.config_hash(plain())
  difference.compare(plain(), plain(**{'save_epochs': 1.0, 'ops.remat': 'blocks'}))
  assert heard.text.rstrip().endswith('none of these keys changes the result')


def test_keys_of_other_versions(heard):
  old = plain()
  del old['bad_steps']
  old['ops']['forgotten'] = 'auto'
  difference.compare(old, plain(bad_steps=3))
  first, second = (record.getMessage() for record in heard.records)
  assert first == "keys of the checkpoint's config that this version ignores: ops.forgotten"
  default = schema.get_config().bad_steps
  assert f'bad_steps  {default} ' in second and 'forgotten' not in second


def test_a_key_that_an_older_version_lacked_counts_as_its_default(heard):
  old = plain()
  del old['bad_steps'], old['data']['eval_share'], old['model']['width']
  difference.compare(old, plain())
  assert not heard.records
