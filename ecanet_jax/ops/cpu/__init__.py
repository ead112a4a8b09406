"""Kernels of our own for one CPU device, and the backend that calls them.

XLA reduces over pixels channel by channel on a CPU, and runs depthwise convolutions and small
kernels slowly. The C++ kernels run vectors over channels. Each function computes what the plain
form in `ops` computes, which is its reference and its stand-in for types without kernels.
"""

from ecanet_jax.ops.backend import Backend
from ecanet_jax.ops.cpu.attention import attend, batch_norm_attend
from ecanet_jax.ops.cpu.batch_norm import batch_norm, scale_shift
from ecanet_jax.ops.cpu.convolution import conv
from ecanet_jax.ops.cpu.depthwise import depthwise_conv
from ecanet_jax.ops.cpu.pooling import max_pool

BACKEND = Backend(
  'cpu', conv=conv, depthwise_conv=depthwise_conv, batch_norm=batch_norm, scale_shift=scale_shift,
  attend=attend, batch_norm_attend=batch_norm_attend, max_pool=max_pool,
)
