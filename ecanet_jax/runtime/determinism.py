"""The same bits every time, on GPUs too."""

import os

FLAG = '--xla_gpu_exclude_nondeterministic_ops=true'


def compute_deterministically() -> None:
  """Makes XLA use deterministic operations on GPUs, some of which are slower.

  Call it before a device is used. CPUs and TPUs have no other operations.
  """
  given = os.environ.get('XLA_FLAGS', '').split()
  os.environ['XLA_FLAGS'] = ' '.join([*given, FLAG])
