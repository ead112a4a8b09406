"""Resizing of decoded images on the host: half of the time of a training input, without it.

TensorFlow's, the plain reference, is in data/decode.py; this one needs a C++ compiler.
"""

import ctypes
import functools
from collections.abc import Callable

import numpy as np

from ecanet_jax.ops import native

KERNELS = {'bilinear': 0, 'bicubic': 1}


@functools.cache
def resizer() -> Callable[[np.ndarray, int, str], np.ndarray] | None:
  """The function (uint8 `[H, W, 3]`, size, interpolation) -> uint8 `[size, size, 3]`, or None.

  Antialiased where it shrinks, rounded and clipped; other threads of Python go on meanwhile. The
  values are those of `tf.image.resize(..., antialias=True)` with bicubic (Keys 1981, a = -1/2) or
  bilinear interpolation, to the rounding of sums. None where there is no C++ compiler.
  """
  library = native.library('float32')
  if library is None:
    return None
  function = library.ecanet_jax_resize
  function.restype = None
  function.argtypes = [ctypes.c_void_p, *[ctypes.c_int64] * 4, ctypes.c_void_p]

  def resize(image: np.ndarray, size: int, interpolation: str) -> np.ndarray:
    image, out = np.ascontiguousarray(image), np.empty((size, size, 3), np.uint8)
    height, width, _ = image.shape
    function(image.ctypes.data, height, width, size, KERNELS[interpolation], out.ctypes.data)
    return out

  return resize
