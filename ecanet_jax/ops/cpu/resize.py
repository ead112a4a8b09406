"""Resizing of decoded images on the host, as a TensorFlow operation."""

from collections.abc import Callable
from typing import Any

from ecanet_jax.ops.cpu import kernels

KERNELS = {'bilinear': 0, 'bicubic': 1}


def resizer() -> Callable[..., Any] | None:
  """A function (uint8 `[H, W, 3]`, size, interpolation, mirrored) -> uint8 `[size, size, 3]`.

  It takes and returns TensorFlow tensors; `mirrored` is a bool scalar. The result is rounded and
  clipped `tf.image.resize(..., antialias=True)`, bicubic (Keys 1981, a = -1/2) or bilinear, up to
  the rounding of sums. None where there is no C++ compiler.
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
