"""The machine that a measurement is made on, for reports."""

import contextlib
import datetime
import os
import pathlib
import platform
from typing import Any


def describe() -> dict[str, Any]:
  """CPU, number of CPUs, system and date, to publish beside a measurement."""
  now = datetime.datetime.now(datetime.UTC)
  return {
    'cpu': _cpu(), 'cpus': os.cpu_count(), 'system': platform.platform(),
    'date': now.strftime('%Y-%m-%d %H:%M UTC'),
  }


def _cpu() -> str:
  with contextlib.suppress(OSError):
    for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines():
      if line.startswith('model name'):
        return line.split(':', 1)[1].strip()
  return platform.processor() or platform.machine()
