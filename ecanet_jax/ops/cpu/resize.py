"""Resizing of decoded images on the host, as an operation of TensorFlow's."""

from collections.abc import Callable
from typing import Any

from ecanet_jax.ops.cpu import kernels

KERNELS = {'bilinear': 0, 'bicubic': 1}


def resizer() -> Callable[..., Any] | None:
  """The function (uint8 `[H, W, 3]`, size, interpolation, mirrored) -> uint8 `[size, size, 3]`.

  An operation of TensorFlow: it takes and returns tensors; `mirrored` is a bool scalar. Antialiased
  where it shrinks, rounded and clipped. The values are those of `tf.image.resize(...,
  antialias=True)` with bicubic (Keys 1981, a = -1/2) or bilinear interpolation, to the rounding of
  sums. None where there is no C++ compiler.
  """
  operations = kernels.operations()
  if operations is None:
    return None

  def resize(image, size: int, interpolation: str, mirrored=False):
    resized = operations.ecanet_jax_resize(
      image, mirrored, size=size, kernel=KERNELS[interpolation]
    )
    resized.set_shape([size, size, 3])
    return resized

  return resize
