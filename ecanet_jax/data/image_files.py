"""Image files: which there are, and the complete decoder, Pillow's `convert('RGB')`.

data/tfdata/decode.py has a fast path with the same pixels for the usual JPEG, PNG and WebP files.
"""

import io

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ecanet_jax.runtime.errors import UserError, lookup, one_line

COMMON = ('.jpg', '.jpeg', '.png', '.webp', '.gif', '.bmp', '.tif', '.tiff', '.ppm', '.avif')
# Of every raster format that Pillow reads. Names are compared in lower case.
EXTENSIONS = (
  *COMMON, '.jfif', '.jpe', '.apng', '.dib', '.pbm', '.pgm', '.pnm', '.pfm', '.avifs', '.jp2',
  '.j2k', '.jpc', '.jpf', '.jpx', '.j2c', '.tga', '.icb', '.vda', '.vst', '.ico', '.cur', '.icns',
  '.pcx', '.dcx', '.psd', '.qoi', '.dds', '.sgi', '.bw', '.rgb', '.rgba', '.ras', '.msp', '.im',
  '.fli', '.flc', '.fit', '.fits', '.xbm', '.xpm', '.blp', '.ftc', '.ftu', '.gbr', '.iim', '.pcd',
  '.pxr', '.mpo', '.imt', '.spider',
)
KNOWN = f'known extensions: {", ".join(COMMON)} and others (docs/data.md)'

# Pillow has other programs draw them, or has no reader.
_PROGRAMS = ('EPS', 'WMF', 'BUFR', 'GRIB', 'HDF5', 'MPEG')

EXIF = {'ignore': lambda image: image, 'apply': ImageOps.exif_transpose}


def decode(content: bytes, exif: str = 'ignore') -> Image.Image:
  """Returns an image file as Pillow's `Image.open(...).convert('RGB')`.

  Of an animation that is the first frame. An alpha channel is dropped, and grey levels of 16 bits
  are clipped at 255.

  Args:
    content: the bytes of the file.
    exif: `ignore` leaves the pixels as they are stored, as timm and torchvision do; `apply` rotates
      and mirrors them as the EXIF orientation says.

  Raises:
    UserError: Pillow cannot decode it, or has no rule for its colours.
  """
  turn = lookup(EXIF, exif, 'exif (data.exif)')
  if not content:
    raise UserError('the file is empty')
  try:
    with Image.open(io.BytesIO(content)) as image:
      if image.format in _PROGRAMS:
        raise UserError(f'{image.format} is no raster format; convert it to PNG')
      image.load()
      return to_rgb(turn(image))
  except UserError:
    raise
  except UnidentifiedImageError:
    raise UserError('it is no image that Pillow can read') from None
  except Image.DecompressionBombError as error:
    limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
    raise UserError(f'it has too many pixels, more than {limit:,}; make it smaller') from error
  except Exception as error:  # Pillow raises many kinds for a damaged file
    raise UserError(one_line(error)) from error


def to_rgb(image: Image.Image) -> Image.Image:
  """Returns an image of Pillow as RGB, by its `convert('RGB')`.

  Raises:
    UserError: floating point pixels, whose range is not known.
  """
  if image.mode == 'F':
    raise UserError('it has floating point pixels, whose range is not known; convert it to RGB')
  if image.mode == 'P' and 'transparency' in image.info:
    image = image.convert('RGBA')  # straight to RGB Pillow warns
  return image.convert('RGB')


def is_upright(content: bytes) -> bool:
  """Whether an image file has no EXIF orientation, or one that changes nothing."""
  try:
    with Image.open(io.BytesIO(content)) as image:
      return image.getexif().get(ExifTags.Base.Orientation, 1) == 1
  except Exception:  # as in `decode`, which says what is wrong
    return False
