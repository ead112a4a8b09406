"""Resizing of decoded images on the host, as a TensorFlow operation."""

from collections.abc import Callable
from typing import Any

from ecanet_jax.ops.cpu import kernels

KERNELS = {'bilinear': 0, 'bicubic': 1}


def resizer() -> Callable[..., Any] | None:
  """A function (image `[H, W, 3]`, size, interpolation, mirrored, window) -> `[size, size, 3]`.

  Image and result are uint8 tensors of TensorFlow, `mirrored` is a bool scalar. `window` is int32
  [4]: height and width of the whole resized image, top and left of the square in it; None = the
  square is the whole. The result is rounded and clipped `tf.image.resize(..., antialias=True)`,
  bicubic (Keys 1981, a = -1/2) or bilinear, up to the rounding of sums. None where there is no C++
  compiler.
  """
  operations = kernels.operations()
  if operations is None:
    return None

  def resize(image, size: int, interpolation: str, mirrored=False, window=None):
    window = [size, size, 0, 0] if window is None else window
    resized = operations.ecanet_jax_resize(
      image, mirrored, window, size=size, kernel=KERNELS[interpolation]
    )
    resized.set_shape([size, size, 3])
    return resized

  return resize
