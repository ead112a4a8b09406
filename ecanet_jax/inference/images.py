"""Reads a picture of any form with Pillow and prepares it as the evaluation does.

The pixels are decoded by data/image_files.py. After resizing they differ from the evaluation's by
at most 1 of 255, because Pillow rounds between its two passes; a few differ by more where Pillow
clips in between.
"""

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from ecanet_jax.data import image_files
from ecanet_jax.data.preprocessing import CROP_MODES
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, lookup, one_line

# A path, the bytes of a file, an image of Pillow, or an array `[H, W]` or `[H, W, 1, 3 or 4]`.
Picture: TypeAlias = str | os.PathLike | bytes | Image.Image | np.ndarray

RESAMPLING = {'bilinear': Image.Resampling.BILINEAR, 'bicubic': Image.Resampling.BICUBIC}
CHANNELS = (1, 3, 4)  # grey, RGB, RGB with alpha


def read_image(picture: Picture, exif: str = 'ignore') -> Image.Image:
  """Returns the picture as an RGB image.

  Args:
    picture: a path, local or gs://; the bytes of an image file; an image of Pillow; or an array
      `[H, W]` or `[H, W, C]` of 1, 3 or 4 channels, uint8, or floating point in 0..1.
    exif: of a file or bytes: `ignore` or `apply` the EXIF orientation.

  Raises:
    UserError: it is none of these, or the file is missing or cannot be decoded.
  """
  if isinstance(picture, Image.Image):
    with _named('the image'):
      return image_files.to_rgb(picture)
  if isinstance(picture, bytes | bytearray | memoryview):
    return _decode(bytes(picture), f'the image of {len(picture):,} bytes', exif)
  if isinstance(picture, str | os.PathLike):
    return _decode(_read(picture), os.fspath(picture), exif)
  if hasattr(picture, '__array__'):
    return _from_array(np.asarray(picture))
  raise UserError(
    f'{type(picture).__name__} is no picture; give a path, bytes, an image of Pillow or an array.'
  )


def is_one(pictures: Any) -> bool:
  """Whether this is one picture, and not several."""
  if isinstance(pictures, str | os.PathLike | bytes | bytearray | memoryview | Image.Image):
    return True
  shape = getattr(pictures, 'shape', ())
  return len(shape) == 2 or (len(shape) == 3 and shape[-1] in CHANNELS)


def resize_and_crop(image: Image.Image, data: Mapping[str, Any]) -> Image.Image:
  """Returns the central square at the network's size, as the evaluation, timm and torchvision do.

  Source: timm/data/transforms_factory.py: transforms_imagenet_eval.

  Args:
    image: RGB.
    data: crop_fraction, image_size, interpolation and crop_mode ('center' if it is missing), as in
      a recipe's `data` section.
  """
  sides, (left, top) = crop_geometry(image.size, data)
  size = data['image_size']
  return image.resize(sides, _resampling(data)).crop((left, top, left + size, top + size))


def crop_geometry(
  size: tuple[int, int], data: Mapping[str, Any]
) -> tuple[tuple[int, int], tuple[int, int]]:
  """The width and height to which `resize_and_crop` resizes, and left and top of its crop.

  Args:
    size: width and height of the image.
    data: as in `resize_and_crop`.
  """
  shorter = math.floor(data['image_size'] / data['crop_fraction'])
  if lookup(CROP_MODES, data.get('crop_mode', 'center'), 'crop_mode') == 'squash':
    sides = (shorter, shorter)
  else:
    sides = tuple(shorter * length // min(size) for length in size)
  return sides, tuple(round((length - data['image_size']) / 2) for length in sides)


def normalise(image: Image.Image, data: Mapping[str, Any]) -> np.ndarray:
  """Returns (pixels / 255 - mean) / std, float32 `[H, W, 3]`."""
  mean, std = (np.asarray(data[key], np.float32) for key in ('mean', 'std'))
  return (np.asarray(image, np.float32) / 255 - mean) / std


def _resampling(data: Mapping[str, Any]) -> Image.Resampling:
  return lookup(RESAMPLING, data['interpolation'], 'interpolation (data.interpolation)')


def _read(path: str | os.PathLike) -> bytes:
  try:
    with paths.answers(path):
      return paths.to_path(path).read_bytes()
  except FileNotFoundError as error:
    raise UserError(f'{path}: no such file.') from error
  except IsADirectoryError as error:
    raise UserError(f'{path} is a folder; give the pictures in it.') from error
  except OSError as error:
    raise UserError(f'{path} cannot be read: {error.strerror or one_line(error)}.') from error


def _decode(content: bytes, name: str, exif: str) -> Image.Image:
  with _named(name):
    return image_files.decode(content, exif)


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
  """Adds the name of the picture to an error of the decoder."""
  try:
    yield
  except UserError as error:
    raise UserError(f'{name}: the image cannot be decoded: {error}.') from error


def _from_array(array: np.ndarray) -> Image.Image:
  shape = array.shape
  if array.ndim == 2:
    array = array[..., None]
  if array.ndim != 3 or array.shape[-1] not in CHANNELS or 0 in shape:
    raise UserError(f'an array of shape {shape} is no picture; give [H, W, 3], or [H, W] for grey.')
  if np.issubdtype(array.dtype, np.floating):
    if not (array.min() >= 0 and array.max() <= 1):  # true for NaN, too
      raise UserError(
        f'floating point pixels from {array.min():.3g} to {array.max():.3g} must be in 0..1; give '
        'uint8 pixels in 0..255. Images that are already normalised go to classifier.model.apply.'
      )
    array = np.round(array * 255).astype(np.uint8)
  if array.dtype != np.uint8:
    raise UserError(
      f'pixels of type {array.dtype} must be uint8 in 0..255, or floating point in 0..1.'
    )
  colours = array[..., :3] if array.shape[-1] > 1 else np.repeat(array, 3, -1)
  return Image.fromarray(np.ascontiguousarray(colours))
