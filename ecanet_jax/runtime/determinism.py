"""Bit-for-bit reproducible results on GPUs."""

import os

FLAG = '--xla_gpu_exclude_nondeterministic_ops=true'


def compute_deterministically() -> None:
  """Makes XLA use deterministic operations on GPUs, some of which are slower.

  Call it before a device is used. Those of CPUs and TPUs are deterministic.
  """
  given = os.environ.get('XLA_FLAGS', '').split()
  os.environ['XLA_FLAGS'] = ' '.join([*given, FLAG])
