"""On a CPU, memory that XLA frees is kept for its next allocation."""

import ctypes
import os
import pathlib

import jax

# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
SWITCH = 'ECANET_JAX_KEEP_MEMORY'


def keep_freed_memory() -> bool:
  """Lets glibc keep freed memory for the next step instead of returning it to the kernel.

  XLA allocates a step's temporaries anew every step, and on a CPU each page of them is faulted in
  again: a tenth to a quarter of a step's time (docs/performance.md). A step also runs when it is
  called: one that is queued gets its temporaries before those of the step before are freed, which
  takes twice the memory. Call it before the first device is used; it lasts for the process. Does
  nothing on a machine with an accelerator, without glibc, or when the environment says
  ECANET_JAX_KEEP_MEMORY=0.

  Returns:
    Whether the settings were made.
  """
  if os.environ.get(SWITCH) == '0' or _has_accelerator():
    return False
  try:
    mallopt = ctypes.CDLL(None).mallopt
  except (AttributeError, OSError):
    return False
  # One arena: the others give large blocks back through munmap whatever the threshold, which is -1,
  # the largest number: a step's memory can be above 2 GiB.
  settings = (
    (_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 64 * 2**20)
  )
  jax.config.update('jax_cpu_enable_async_dispatch', False)
  return all([mallopt(name, value) == 1 for name, value in settings])


def _has_accelerator() -> bool:
  devices = pathlib.Path('/dev')
  return any(any(devices.glob(name)) for name in ('accel*', 'nvidia[0-9]*', 'vfio/[0-9]*', 'kfd'))
