"""Whether and how glibc is told to keep freed memory."""

import ctypes

import pytest

from ecanet_jax import allocation


@pytest.fixture
def settings(monkeypatch):
  """What mallopt was called with, on a machine without an accelerator; nothing is really set."""
  made = {}

  class Library:
    @staticmethod
    def mallopt(name, value):
      made[name] = value
      return 1

  monkeypatch.delenv(allocation.SWITCH, raising=False)
  monkeypatch.setattr(allocation, '_has_accelerator', lambda: False)
  monkeypatch.setattr(ctypes, 'CDLL', lambda name: Library)
  return made


def test_settings(settings):
  assert allocation.keep_freed_memory() is True
  assert settings == {-8: 1, -4: 0, -1: -1, -2: 64 * 2**20}


def test_switched_off(settings, monkeypatch):
  monkeypatch.setenv(allocation.SWITCH, '0')
  assert allocation.keep_freed_memory() is False and not settings


def test_left_alone_beside_an_accelerator(settings, monkeypatch):
  monkeypatch.setattr(allocation, '_has_accelerator', lambda: True)
  assert allocation.keep_freed_memory() is False and not settings


def test_without_glibc(settings, monkeypatch):
  monkeypatch.setattr(ctypes, 'CDLL', lambda name: object())
  assert allocation.keep_freed_memory() is False
