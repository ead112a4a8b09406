"""Processes must share one working directory; tests/reliability has the rest."""

import json

import jax
import pytest

from ecanet_jax.runtime import consistency, distributed
from ecanet_jax.runtime.errors import UserError


@pytest.fixture
def told(monkeypatch):
  """What process 0 of two told this one, which is process 1; what it tells is added."""
  texts = {'ecanet_jax/mark': '.mark'}
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  monkeypatch.setattr(jax, 'process_index', lambda: 1)
  monkeypatch.setattr(distributed, 'publish', texts.__setitem__)
  monkeypatch.setattr(distributed, 'await_published', lambda key, seconds: texts[key])
  monkeypatch.setattr(consistency, 'MARK_SECONDS', 0.3)
  return texts


def say(told, tmp_path):
  told['ecanet_jax/agree/workdir/0'] = json.dumps({f'a file in {tmp_path}': 'seen'})


def test_a_common_directory(told, tmp_path):
  say(told, tmp_path)
  (tmp_path / '.mark').touch()
  consistency.check_shared_directory(tmp_path)
  assert told['ecanet_jax/agree/workdir/1'] == told['ecanet_jax/agree/workdir/0']


def test_two_directories_of_one_name(told, tmp_path):
  say(told, tmp_path)
  with pytest.raises(UserError) as error:
    consistency.check_shared_directory(tmp_path)
  assert str(error.value) == (
    f'the processes were not given the same workdir: a file in {tmp_path} is not seen in process 1 '
    'and seen in process 0.'
  )


def test_a_single_process_writes_nothing(tmp_path):
  consistency.check_shared_directory(tmp_path)
  assert not list(tmp_path.iterdir())
