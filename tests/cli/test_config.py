"""A config file's own mistakes are one line that names the file."""

import pytest

from ecanet_jax import cli
from ecanet_jax.cli.config import load_config
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
    'error: docs/networks.md cannot be read or written: No space left on device.\n'
  )
