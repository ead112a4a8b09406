"""The CPUs and the memory of this machine, and limits of this process."""

import contextlib
import ctypes
import os
import pathlib
import signal

from ecanet_jax.runtime.accelerators import device_files

_PARENT_DEATH_SIGNAL = 1  # linux/prctl.h


def cpus() -> list[int]:
  """The CPUs that this process may use; 0, 1, ... where the system does not say."""
  if hasattr(os, 'sched_getaffinity'):
    return sorted(os.sched_getaffinity(0))
  return list(range(os.cpu_count() or 1))


def available_memory() -> int | None:
  """Available memory in bytes; None where the system does not say."""
  return _kibibytes('/proc/meminfo', 'MemAvailable')


def peak_memory() -> int | None:
  """Peak resident memory in bytes since `reset_peak`; None where the system does not say."""
  return _kibibytes('/proc/self/status', 'VmHWM')


def reset_peak() -> None:
  """Resets `peak_memory`, where the system allows it."""
  with contextlib.suppress(OSError):
    pathlib.Path('/proc/self/clear_refs').write_text('5')


def _kibibytes(path: str, key: str) -> int | None:
  with contextlib.suppress(OSError):
    for line in pathlib.Path(path).read_text().splitlines():
      if line.startswith(key + ':'):
        return int(line.split()[1]) * 1024
  return None


def cpu_seconds(pid: int) -> float | None:
  """CPU time of a process in seconds; None where the system does not say."""
  with contextlib.suppress(OSError):
    after_name = pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf('SC_CLK_TCK')
  return None


def stolen() -> tuple[int, int] | None:
  """Ticks that the hypervisor gave to other machines, and all ticks of all CPUs; None: unknown."""
  with contextlib.suppress(OSError, ValueError, IndexError):
    line = pathlib.Path('/proc/stat').read_text().split('\n')[0]
    ticks = [int(text) for text in line.split()[1:9]]
    return ticks[7], sum(ticks)
  return None


def limit_memory() -> None:
  """Makes an allocation beyond the free memory fail, before the kernel kills a process.

  Does nothing on a machine with an accelerator, whose drivers map more memory than they use.
  """
  if device_files():
    return
  free, now = available_memory(), _kibibytes('/proc/self/status', 'VmData')
  if free and now:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = now + free if hard == resource.RLIM_INFINITY else min(now + free, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def end_with_parent() -> None:
  """Asks Linux to kill this process when its parent ends, even while this one is stopped."""
  with contextlib.suppress(AttributeError, OSError):
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
