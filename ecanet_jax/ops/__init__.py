"""Hot functions of a network: the plain JAX forms, and who computes them.

`x` is `[B, H, W, C]` from the stem to the head. XLA compiles these forms for TPU and GPU: a reshape
that joins B, H or W with another axis would be a copy of the whole tensor on a TPU.
"""

from ecanet_jax.ops.backend import BACKENDS, Backend, cpu_status, get_backend, select_backend

__all__ = ['BACKENDS', 'Backend', 'cpu_status', 'get_backend', 'select_backend']
