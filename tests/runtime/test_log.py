"""Who sets up the log."""

import logging

import pytest

from ecanet_jax.runtime.log import log, start_log_once


@pytest.fixture
def fresh(monkeypatch):
  """The logger as Python makes it."""
  for name, value in (('handlers', []), ('propagate', True), ('level', logging.NOTSET)):
    monkeypatch.setattr(log, name, value)


def test_a_caller_without_a_log_gets_ours(fresh, capsys):
  start_log_once()
  log.info('a line')
  assert capsys.readouterr().err.endswith(' a line\n')


@pytest.mark.parametrize('configure', [
  lambda: log.addHandler(logging.NullHandler()), lambda: log.setLevel(logging.ERROR),
])
def test_a_log_that_is_set_up_stays(fresh, capsys, configure):
  configure()
  handlers, level = list(log.handlers), log.level
  start_log_once()
  assert (log.handlers, log.level) == (handlers, level)
