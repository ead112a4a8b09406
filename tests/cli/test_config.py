"""The config of a command, its overrides, and mistakes in them: one line that names the place."""

import json

import pytest

from ecanet_jax import cli
from ecanet_jax.cli.arguments import Parser, parse_overrides
from ecanet_jax.cli.config import load_config, load_stored_config
from ecanet_jax.config.trees import plain
from ecanet_jax.runtime.errors import UserError


@pytest.mark.parametrize(('code', 'text'), [
  ('def get_config(:\n', ', line 1: SyntaxError: '),
  ('def get_config():\n  return 1 / 0\n', ': ZeroDivisionError: division by zero'),
  ('import no_such_module\n', "ModuleNotFoundError: No module named 'no_such_module'"),
])
def test_a_config_file_that_fails(tmp_path, code, text):
  path = tmp_path / 'recipe.py'
  path.write_text(code)
  with pytest.raises(UserError) as caught:
    load_config(str(path))
  assert str(caught.value).startswith(f'{path}') and text in str(caught.value)
  assert '\n' not in str(caught.value)


def test_an_argument_that_a_recipe_does_not_take():
  with pytest.raises(UserError) as caught:
    load_config('configs/smoke.py:which')
  assert str(caught.value).startswith('configs/smoke.py:which: TypeError: get_config() takes 0 ')


def test_a_file_that_cannot_be_written(capsys, monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'docs').mkdir()

  def full(path, text):
    raise OSError(28, 'No space left on device', str(path))

  monkeypatch.setattr('pathlib.Path.write_text', full)
  monkeypatch.setattr('ecanet_jax.models.table.markdown', lambda: ['a line'])
  assert cli.main(['models', '--table', '--markdown']) == 2
  assert capsys.readouterr().err == (
    'error: docs/networks.md cannot be written or read: No space left on device.\n'
  )


@pytest.mark.parametrize('name', ['smoke', 'smoke.py', 'configs/smoke.py'])
def test_a_recipe_by_name(tmp_path, monkeypatch, name):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'configs').mkdir()
  assert load_config(name).model.name == 'tiny_efficientnet'
  (tmp_path / name).write_text('def get_config(): return 1')  # a file wins
  with pytest.raises(UserError, match=rf'^{name}: get_config\(\) returned 1, not a ConfigDict\.$'):
    load_config(name)


def test_a_recipe_by_name_with_its_argument(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert load_config('transfer:cars196').model.num_classes == 196
  with pytest.raises(UserError, match=r"^transfer:cars: unknown data set of transfer\.py 'cars'\."):
    load_config('transfer:cars')
  with pytest.raises(UserError, match=r"^no config file 'smok'\. Did you mean 'smoke'\? Rec"):
    load_config('smok')


def test_overrides_in_every_form():
  parser = Parser()
  parser.add_argument('source')
  args = parse_overrides(parser, [
    '--config.data.area=(0.5, 1.0)', '--config.steps', '5', '--noconfig.data.flip', 'here',
    '--config.export', '--config.model.preset=tf', '--config.model.preset=None',
  ])
  assert args.source == 'here' and args.overrides == [
    '--config.data.area=(0.5, 1.0)', '--config.steps=5', '--config.data.flip=False',
    '--config.export=True', '--config.model.preset=tf', '--config.model.preset=None',
  ]
  config = load_config('smoke', args.overrides)
  assert config.data.area == (0.5, 1.0) and config.steps == 5 and not config.data.flip
  assert config.export and config.model.preset is None
  assert load_config('smoke', ['--config.steps=None', '--config.steps=3']).steps == 3


@pytest.mark.parametrize(('argument', 'text'), [
  ('--noconfig.export=1', "'--noconfig.export=1' is for keys that are true or false; write --con"),
  ('--config.steps', "'--config.steps' has no value; write --config.steps=VALUE."),
  ('--confg=smoke', "unexpected argument '--confg=smoke'. ecanet_jax --help lists them all."),
])
def test_an_override_that_cannot_be(argument, text):
  with pytest.raises(UserError) as caught:
    parse_overrides(Parser(), [argument])
  assert str(caught.value).startswith(text)


def test_the_config_of_a_training(tmp_path):
  config = load_config('smoke', ['--config.data.size_schedule=((0,16),(4,32))'])
  (tmp_path / 'config.json').write_text(json.dumps(plain(config) | {'of_another_version': 1}))
  assert load_stored_config(str(tmp_path)) == config
  changed = load_stored_config(str(tmp_path), ['--config.batch_size=8', '--config.seed=3'])
  assert (changed.batch_size, changed.seed) == (8, 3)
  with pytest.raises(UserError, match=r"^unknown config key 'sed'\. Did you mean 'seed'\?"):
    load_stored_config(str(tmp_path), ['--config.sed=3'])


@pytest.mark.parametrize(('text', 'message'), [
  ('', r'.* has no config\.json of a training; give --config=RECIPE, too\.$'),
  ('[]', r'.*/config\.json is not the config of a training \(.*; give --config=RECIPE, too\.$'),
  ('{"epochs": "x"}', r'.*/config\.json is not the config of a training \(.*; give --config='),
])
def test_no_config_of_a_training(tmp_path, text, message):
  if text:
    (tmp_path / 'config.json').write_text(text)
  with pytest.raises(UserError, match=message):
    load_stored_config(str(tmp_path))
