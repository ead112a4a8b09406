"""The features of the CPU, for caches of compiled code."""

import contextlib
import pathlib


def cpu_flags() -> str:
  """The line of the CPU's features in /proc/cpuinfo; '' where there is none."""
  with contextlib.suppress(OSError):
    for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines():
      if line.startswith(('flags', 'Features')):
        return line
  return ''
