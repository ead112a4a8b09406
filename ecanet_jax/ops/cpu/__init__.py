"""C++ kernels for one CPU device, and the backend that calls them.

On a CPU, XLA reduces over pixels channel by channel, and is slow at depthwise convolutions and
small kernels. These kernels vectorise over channels. Each function computes the same as the plain
form in `ops`, which is its reference and serves the types that have no kernels.
"""

from ecanet_jax.ops.backend import Backend
from ecanet_jax.ops.cpu import attention, batch_norm, convolution, depthwise, pooling, roi_align

BACKEND = Backend(
  'cpu', conv=convolution.conv, depthwise_conv=depthwise.depthwise_conv,
  batch_norm=batch_norm.batch_norm, scale_shift=batch_norm.scale_shift, attend=attention.attend,
  batch_norm_attend=attention.batch_norm_attend, max_pool=pooling.max_pool,
  roi_align=roi_align.roi_align,
)
