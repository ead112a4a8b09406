"""Memory that XLA frees on a CPU, kept for its next allocation."""

import ctypes
import os

import jax

from ecanet_jax.runtime.accelerators import device_files

# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
SWITCH = 'ECANET_JAX_KEEP_MEMORY'


def keep_freed_memory() -> bool:
  """On a CPU, lets glibc keep freed memory for the next step instead of returning it to the kernel.

  XLA allocates the temporaries of every step anew. Without this, the kernel maps each page again,
  which takes a tenth to a quarter of a step. Steps are also dispatched synchronously: a queued step
  would allocate its temporaries before those of the last step are freed.

  Call it before a device is used; it lasts for the process. It does nothing on a machine with an
  accelerator, without glibc, or with ECANET_JAX_KEEP_MEMORY=0 in the environment.

  Returns:
    Whether the settings were made.
  """
  if os.environ.get(SWITCH) == '0' or device_files():
    return False
  try:
    mallopt = ctypes.CDLL(None).mallopt
  except (AttributeError, OSError):
    return False
  # One arena: other arenas return large blocks through munmap whatever the threshold is. The
  # threshold -1 is the largest number, since a step can need more than 2 GiB.
  settings = (
    (_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 64 * 2**20)
  )
  jax.config.update('jax_cpu_enable_async_dispatch', False)
  return all([mallopt(name, value) == 1 for name, value in settings])
