"""Who sets up the log."""

import logging

import pytest

from ecanet_jax.runtime.log import log, start_log_once
from ecanet_jax.training import trainer


@pytest.fixture
def fresh(monkeypatch):
  """The logger as Python makes it."""
  for name, value in (('handlers', []), ('propagate', True), ('level', logging.NOTSET)):
    monkeypatch.setattr(log, name, value)


def test_a_caller_without_a_log_gets_ours(fresh, capsys):
  start_log_once()
  log.info('a line')
  assert capsys.readouterr().err.endswith(' a line\n')


def test_a_training_from_python_is_heard(fresh, capsys, monkeypatch, tmp_path):
  class Training:
    def __init__(self, *_):
      log.info('the devices')

    def run(self):
      log.info('a step')
      return {}

  monkeypatch.setattr(trainer, 'Trainer', Training)
  trainer.train_and_evaluate(None, tmp_path)
  assert [line.split(' ', 1)[1] for line in capsys.readouterr().err.splitlines()] == [
    'the devices', 'a step'
  ]


@pytest.mark.parametrize('configure', [
  lambda: log.addHandler(logging.NullHandler()), lambda: log.setLevel(logging.ERROR),
])
def test_a_log_that_is_set_up_stays(fresh, capsys, configure):
  configure()
  handlers, level = list(log.handlers), log.level
  start_log_once()
  assert (log.handlers, log.level) == (handlers, level)
