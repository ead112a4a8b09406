"""Padding rules and pooling."""

import flax.linen as nn
import jax.numpy as jnp

from ecanet_jax.ops import get_backend
from ecanet_jax.ops.pooling import mean_pool


def explicit_padding(
  rule: str, size: tuple[int, int], kernel: int | tuple[int, int], stride: int
) -> tuple[tuple[int, int], tuple[int, int]]:
  """Zeros before and after H and W for a convolution or pooling of a `size` image.

  Args:
    rule: 'symmetric' ((k - 1) // 2 on each side); 'same' (TensorFlow's: the output has
      ceil(size / stride) pixels, and the odd zero goes after); 'valid' (none); 'ceil' (Caffe's:
      only after, so that no pixel is left out).
    size: H and W in pixels.
    kernel: one size for both axes, or height and width.
    stride: in pixels, for both axes.
  """
  kernels = (kernel, kernel) if isinstance(kernel, int) else kernel
  if rule == 'symmetric':
    return tuple(((k - 1) // 2,) * 2 for k in kernels)
  if rule == 'valid':
    return (0, 0), (0, 0)
  if rule == 'ceil':
    return tuple((0, -(-(n - k) // stride) * stride + k - n) for n, k in zip(size, kernels))
  total = [max((-(-n // stride) - 1) * stride + k - n, 0) for n, k in zip(size, kernels)]
  return tuple((t // 2, t - t // 2) for t in total)


class Pool(nn.Module):
  """Maximum ('max') or mean ('mean', of the pixels inside the image) of k x k windows."""

  kind: str
  kernel_size: int
  stride: int
  padding: str
  backend: str = 'xla'

  @nn.compact
  def __call__(self, x):
    padding = explicit_padding(self.padding, x.shape[1:3], self.kernel_size, self.stride)
    pool = get_backend(self.backend).max_pool if self.kind == 'max' else mean_pool
    return pool(x, self.kernel_size, self.stride, padding)


# Over H and W; timm/layers/adaptive_avgmax_pool.py has the same names.
GLOBAL_POOL = {
  'avg': lambda x: x.mean((1, 2)),
  'max': lambda x: x.max((1, 2)),
  'avgmax': lambda x: (x.mean((1, 2)) + x.max((1, 2))) / 2,
}


class GlobalPool(nn.Module):
  """Mean or maximum over H and W in float32: `[B, H, W, C]` -> `[B, C]`.

  Attributes:
    kind: a name of GLOBAL_POOL.
  """

  kind: str = 'avg'

  @nn.compact
  def __call__(self, x):
    return GLOBAL_POOL[self.kind](x.astype(jnp.promote_types(x.dtype, jnp.float32)))
