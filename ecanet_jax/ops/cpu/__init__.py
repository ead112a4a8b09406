"""Kernels of our own for one CPU device, and the backend that calls them.

XLA reduces over pixels channel by channel on a CPU, and runs depthwise convolutions and small
kernels slowly. The C++ kernels run vectors over channels. Each function computes what the plain
form in `ops` computes, which is its reference and its stand-in for types without kernels.
"""

from ecanet_jax.ops.backend import Backend
from ecanet_jax.ops.cpu import attention, batch_norm, convolution, depthwise, pooling

BACKEND = Backend(
  'cpu', conv=convolution.conv, depthwise_conv=depthwise.depthwise_conv,
  batch_norm=batch_norm.batch_norm, scale_shift=batch_norm.scale_shift, attend=attention.attend,
  batch_norm_attend=attention.batch_norm_attend, max_pool=pooling.max_pool,
)
