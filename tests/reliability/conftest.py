"""What the tests of faults share."""

import logging

import pytest


@pytest.fixture
def heard(caplog, monkeypatch):
  """What our own log says, which the programs keep from the root's handlers."""
  monkeypatch.setattr(logging.getLogger('ecanet_jax'), 'propagate', True)
  caplog.set_level(logging.INFO, 'ecanet_jax')
  return caplog
