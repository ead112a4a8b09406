"""The hot functions of a network in plain JAX, and the backend that computes them.

`x` is `[B, H, W, C]` from the stem to the head. The forms suit TPU and GPU: on a TPU, a reshape
that joins B, H or W with another axis copies the whole tensor.
"""

from ecanet_jax.ops.backend import BACKENDS, Backend, cpu_status, get_backend, select_backend

__all__ = ['BACKENDS', 'Backend', 'cpu_status', 'get_backend', 'select_backend']
