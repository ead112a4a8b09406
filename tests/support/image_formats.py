"""Image files of every mode, format and option that Pillow writes, and those of packages."""

import importlib.util
import io
import pathlib
import random
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.support.imagenet_tars import encode, smooth_image

PACKAGES = ('matplotlib', 'sklearn', 'skimage', 'imageio', 'pandas', 'bokeh', 'nbconvert')
MODES = ('1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK', 'YCbCr', 'LAB', 'HSV', 'I', 'I;16', 'F')
# Formats and their options; a mode that a format cannot have is left out.
OPTIONS = {
  'PNG': ({}, {'interlace': 1}, {'dpi': (72, 72)}, {'transparency': 0}),
  'GIF': ({}, {'interlace': 0}, {'transparency': 0}),
  'TIFF': ({}, *({'compression': name} for name in ('tiff_lzw', 'tiff_adobe_deflate', 'packbits'))),
  'WEBP': ({'lossless': True}, {'quality': 60}, {'lossless': True, 'exact': True}),
  'BMP': ({},), 'DIB': ({},), 'PPM': ({},), 'TGA': ({}, {'compression': 'tga_rle'}), 'PCX': ({},),
  'ICO': ({},), 'SGI': ({},), 'MSP': ({},), 'XBM': ({},), 'DDS': ({},), 'QOI': ({},),
  'ICNS': ({},), 'JPEG2000': ({}, {'irreversible': True}), 'AVIF': ({},),
  'JPEG': ({}, {'quality': 20, 'progressive': True}, {'restart_marker_blocks': 1}),
}
SAMPLINGS = ('4:4:4', '4:2:2', '4:2:0', '4:1:1')


def picture(mode: str, height: int = 37, width: int = 51) -> Image.Image:
  """Returns a picture of Pillow's mode; greys of 16 bits and more exceed 255."""
  image = smooth_image(np.random.RandomState(len(mode)), height, width)
  grey = np.asarray(image.convert('L'))
  match mode:
    case 'I' | 'F':
      return Image.fromarray(grey.astype({'I': np.int32, 'F': np.float32}[mode]) * 3)
    case 'I;16':
      return Image.fromarray(grey.astype(np.uint16) * 3)
    case 'RGBA' | 'LA':
      image.putalpha(image.getchannel(1))
      return image.convert(mode)
    case 'LAB':
      return Image.merge('LAB', image.split())
  return image.convert(mode)


def written_by_pillow() -> dict[str, bytes]:
  """Returns image files by what they are; about 200 of 51 x 37 pixels."""
  found, images = {}, {mode: picture(mode) for mode in MODES}
  for file_format, variants in OPTIONS.items():
    for mode, image in images.items():
      for options in variants:
        try:
          found[f'{file_format} {mode} {options}'] = encode(image, file_format, **options)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
          continue  # the format has no such mode, or Pillow was built without it
  colours = images['RGB']
  for sampling in SAMPLINGS:
    for quality in (30, 95):
      for progressive in (False, True):
        found[f'JPEG {sampling} {quality} {progressive}'] = encode(
          colours, quality=quality, subsampling=sampling, progressive=progressive
        )
  found['JPEG keep_rgb'] = encode(colours, keep_rgb=True)
  found['JPEG with more behind it'] = encode(colours) + b'the end'
  frames = {'save_all': True, 'append_images': [colours.rotate(90), colours.rotate(180)]}
  for file_format in ('GIF', 'WEBP', 'PNG', 'TIFF', 'MPO'):
    found[f'{file_format} of 3 frames'] = encode(colours, file_format, **frames)
  clear = {'save_all': True, 'append_images': [images['RGBA'].rotate(90)]}
  found['WEBP clear, of 2 frames'] = encode(images['RGBA'], 'WEBP', **clear)
  for colour_count in (2, 4, 16):
    few = colours.quantize(colour_count)
    found[f'PNG of {colour_count} colours'] = encode(few, 'PNG')
    found[f'PNG of {colour_count} colours, alpha'] = encode(
      few, 'PNG', transparency=bytes(range(colour_count))
    )
    found[f'BMP of {colour_count} colours'] = encode(few, 'BMP')
  for orientation in range(1, 9):
    found |= with_orientation(colours, orientation)
  return found


def with_orientation(image: Image.Image, orientation: int) -> dict[str, bytes]:
  """Returns files with an EXIF orientation, 1 to 8."""
  exif = Image.Exif()
  exif[0x0112] = orientation
  return {
    f'{file_format} turned {orientation}': encode(image, file_format, exif=exif)
    for file_format in ('JPEG', 'PNG', 'WEBP')
  }


def of_packages() -> dict[str, bytes]:
  """Returns the image files that installed packages have, by path."""
  found = {}
  for package in PACKAGES:
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
      for path in sorted(pathlib.Path(folder).rglob('*')):
        if path.suffix in ('.png', '.jpg', '.gif', '.tif', '.webp', '.bmp', '.ppm'):
          content = path.read_bytes()
          if len(content) < 500_000 and 'baseline_images' not in path.parts:
            found[str(path)] = content
  return found


def damaged(content: bytes, count: int) -> Iterator[bytes]:
  """Yields a file with bits and bytes changed, above all in its head, or cut off."""
  for number in range(count):
    chance, changed = random.Random(number), bytearray(content)
    match number % 4:
      case 0:
        del changed[chance.randrange(len(changed)) :]
      case 1:
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
      case 2:
        for _ in range(5):
          changed[chance.randrange(len(changed))] = chance.randrange(256)
      case 3:
        changed[chance.randrange(min(64, len(changed)))] = chance.randrange(256)
    yield bytes(changed)


def by_pillow(content: bytes) -> np.ndarray | None:
  """Returns the pixels that Pillow gives, uint8 [H, W, 3], or None if it raises an error."""
  try:
    with Image.open(io.BytesIO(content)) as image:
      return np.asarray(image.convert('RGB'))
  except Exception:
    return None
