"""Reads a picture of any form with Pillow and prepares it as the evaluation does.

The colours are those of data/tfdata/decode.py: grey and CMYK become RGB, an alpha channel is
dropped, of an animation the first frame is taken, the EXIF orientation is ignored. The pixels
differ by at most 1 of 255, because Pillow rounds between its two passes; a few differ by more where
Pillow clips in between.
"""

import io
import math
import os
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, UnidentifiedImageError

from ecanet_jax.data.image_files import FORMATS
from ecanet_jax.data.preprocessing import CROP_MODES
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, lookup, one_line

# A path, the bytes of a file, an image of Pillow, or an array `[H, W]` or `[H, W, 1, 3 or 4]`.
Picture: TypeAlias = str | os.PathLike | bytes | Image.Image | np.ndarray

RESAMPLING = {'bilinear': Image.Resampling.BILINEAR, 'bicubic': Image.Resampling.BICUBIC}
CHANNELS = (1, 3, 4)  # grey, RGB, RGB with alpha


def read_image(picture: Picture) -> Image.Image:
  """Returns the picture as an RGB image.

  Args:
    picture: a path, local or gs://; the bytes of a JPEG, PNG, GIF, BMP or WebP file; an image of
      Pillow; or an array `[H, W]` or `[H, W, C]` of 1, 3 or 4 channels, uint8, or floating point in
      0..1.

  Raises:
    UserError: it is none of these, or the file is missing or damaged.
  """
  if isinstance(picture, Image.Image):
    return _to_rgb(picture, 'the image')
  if isinstance(picture, bytes | bytearray | memoryview):
    return _decode(bytes(picture), f'the image of {len(picture):,} bytes')
  if isinstance(picture, str | os.PathLike):
    return _decode(_read(picture), os.fspath(picture))
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
  size = data['image_size']
  shorter = math.floor(size / data['crop_fraction'])
  sides = [shorter * length // min(image.size) for length in image.size]
  if lookup(CROP_MODES, data.get('crop_mode', 'center'), 'crop_mode') == 'squash':
    sides = [shorter, shorter]
  image = image.resize(sides, _resampling(data))
  left, top = (round((length - size) / 2) for length in image.size)
  return image.crop((left, top, left + size, top + size))


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


def _decode(content: bytes, name: str) -> Image.Image:
  try:
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    image.load()
  except UnidentifiedImageError as error:
    what = 'is empty' if not content else f'is none of {", ".join(FORMATS)}'
    raise UserError(f'{name} {what}.') from error
  except Exception as error:  # Pillow raises many kinds for a damaged file
    raise UserError(f'{name} is damaged: {one_line(error)}.') from error
  return _to_rgb(image, name)


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
  if image.mode.startswith('I;16'):  # Pillow would clip at 255; TensorFlow takes the high byte
    image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
  if image.mode in ('I', 'F'):
    raise UserError(f'{name} has the mode {image.mode} of Pillow, whose range is not known; '
                    'convert it to RGB.')
  if image.mode == 'P' and 'transparency' in image.info:
    image = image.convert('RGBA')  # straight to RGB Pillow warns
  return image if image.mode == 'RGB' else image.convert('RGB')


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
