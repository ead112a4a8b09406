"""Whether and how glibc is told to keep freed memory."""

import ctypes
import os
import pathlib
import platform
import subprocess
import sys

import jax
import pytest

from ecanet_jax.runtime import memory


@pytest.fixture
def settings(monkeypatch):
  """What mallopt was called with, on a machine without an accelerator; nothing is really set."""
  made = {}

  class Library:
    @staticmethod
    def mallopt(name, value):
      made[name] = value
      return 1

  monkeypatch.delenv(memory.SWITCH, raising=False)
  monkeypatch.setattr(memory, 'device_files', lambda: [])
  monkeypatch.setattr(ctypes, 'CDLL', lambda name: Library)
  monkeypatch.setattr(jax.config, 'update', made.__setitem__)
  return made


def test_settings(settings):
  assert memory.keep_freed_memory() is True
  asynchronous = settings.pop('jax_cpu_enable_async_dispatch')
  assert asynchronous is False and settings == {-8: 1, -4: 0, -1: -1, -2: 64 * 2**20}


def test_switched_off(settings, monkeypatch):
  monkeypatch.setenv(memory.SWITCH, '0')
  assert memory.keep_freed_memory() is False and not settings


def test_left_alone_beside_an_accelerator(settings, monkeypatch):
  monkeypatch.setattr(memory, 'device_files', lambda: ['/dev/nvidia0'])
  assert memory.keep_freed_memory() is False and not settings


def test_without_glibc(settings, monkeypatch):
  monkeypatch.setattr(ctypes, 'CDLL', lambda name: object())
  assert memory.keep_freed_memory() is False


def test_freed_memory_stays_with_the_process():
  program = """
import ctypes, pathlib
from ecanet_jax.runtime import memory
memory.device_files = lambda: []
assert memory.keep_freed_memory()
resident = lambda: int(pathlib.Path('/proc/self/statm').read_text().split()[1])
before = resident()
block = ctypes.create_string_buffer(2**26)
ctypes.memset(block, 1, 2**26)
del block
assert resident() - before > 0.9 * 2**26 / 4096, (before, resident())
"""
  if platform.libc_ver()[0] != 'glibc' or not pathlib.Path('/proc/self/statm').exists():
    pytest.skip('needs Linux with glibc')
  environment = {name: value for name, value in os.environ.items() if name != memory.SWITCH}
  subprocess.run([sys.executable, '-c', program], check=True, timeout=60, env=environment)
