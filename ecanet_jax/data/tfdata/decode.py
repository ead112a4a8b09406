"""Decoding and resizing of image files; the pixels are those of Pillow's `convert('RGB')`.

The bytes choose the decoder, not the file's name. The fast path is TensorFlow's decoder, for files
of which it gives Pillow's pixels: JPEG in grey or colour, PNG of 8 bits, both with their end mark,
and lossy WebP without alpha, animation and metadata. In training it decodes only the part of a JPEG
that the crop needs. All other files go to Pillow (data/image_files.py), which decodes fewer at the
same time, because it needs Python's lock.

Resizing is antialiased, rounded and clipped to uint8, as in Pillow.
"""

import functools

import numpy as np

from ecanet_jax.data import image_files
from ecanet_jax.data.augmentation.host import crop
from ecanet_jax.data.preprocessing import CROP_MODES
from ecanet_jax.data.tfdata.tf_import import tensorflow, traced
from ecanet_jax.ops.cpu.resize import resizer
from ecanet_jax.runtime.errors import lookup

tf = tensorflow()

_CROPS = {
  'inception': lambda values, height, width, area, aspect, fraction: crop.inception_crop(
    height, width, values, area, aspect
  ),
  'center': lambda values, height, width, area, aspect, fraction: crop.center_crop(
    height, width, fraction
  ),
}
_DCT = 'INTEGER_ACCURATE'  # Pillow's
MARGIN = 2  # pixels: the next sample of colours of half the size
FAST_PIXELS = 2**26  # TensorFlow has limits of its own, but Pillow's shall count
_KERNELS = {'bicubic': 'keyscubic', 'bilinear': 'triangle'}


def decode(data, exif: str = 'ignore'):
  """Decodes a whole image.

  Args:
    data: string scalar, the bytes of the file.
    exif: `ignore` or `apply`; see `image_files.decode`.

  Returns:
    uint8 [H, W, 3].

  Raises:
    tf.errors.InvalidArgumentError: the bytes are not a complete image of a known format.
  """
  return _decode(data, exif, lambda: tf.io.decode_jpeg(data, channels=3, dct_method=_DCT))


def decode_crop(data, choose_box, exif: str = 'ignore'):
  """Decodes the part of an image that `choose_box(height, width)` -> int32 [4] selects.

  Args:
    data: string scalar, the bytes of the file.
    choose_box: returns top, left, height, width in pixels.
    exif: as in `decode`.

  Returns:
    uint8 [h, w, 3], the pixels of the same part of `decode`.
  """

  def cut(image):
    shape = tf.shape(image)
    top, left, height, width = tf.unstack(choose_box(shape[0], shape[1]))
    return image[top : top + height, left : left + width]

  def from_jpeg():
    shape = tf.image.extract_jpeg_shape(data)[:2]
    box = choose_box(shape[0], shape[1])
    # At the edge of what is decoded, colours would be up-sampled without their neighbours.
    first = tf.maximum(box[:2] - MARGIN, 0)
    last = tf.minimum(box[:2] + box[2:] + MARGIN, shape)
    window = tf.concat([first, last - first], 0)
    image = tf.image.decode_and_crop_jpeg(data, window, channels=3, dct_method=_DCT)
    return tf.slice(image, [*tf.unstack(box[:2] - first), 0], [*tf.unstack(box[2:]), 3])

  return _decode(data, exif, from_jpeg, cut)


def _decode(data, exif: str, from_jpeg, cut=lambda image: image):
  """Decodes with the decoder that suits the bytes; `cut` is applied to what is decoded whole."""
  lookup(image_files.EXIF, exif, 'exif (data.exif)')

  def by_pillow():
    image = _python(lambda content: np.asarray(image_files.decode(content, exif)), data, tf.uint8)
    return cut(tf.ensure_shape(image, [None, None, 3]))

  def by_tensorflow():
    return cut(tf.io.decode_image(data, channels=3, expand_animations=False))

  def by_bytes():
    return tf.cond(
      _is_plain_jpeg(data), from_jpeg,
      lambda: tf.cond(_is_plain_png_or_webp(data), by_tensorflow, by_pillow),
    )

  if exif == 'ignore':
    image = by_bytes()
  else:
    is_upright = tf.ensure_shape(_python(image_files.is_upright, data, tf.bool), [])
    image = tf.cond(is_upright, by_bytes, by_pillow)
  return tf.ensure_shape(image, [None, None, 3])


def _python(function, data, dtype):
  """The result of a Python function of the bytes; outside of graphs TensorFlow gives an array."""

  def apply(content):
    return function(content if isinstance(content, bytes) else content.item())

  return tf.numpy_function(apply, [data], dtype, stateful=False)


def _is_plain_jpeg(data):
  """Whether the bytes begin and end like a JPEG file in grey, YCbCr or RGB, bool scalar."""

  def is_plain():
    shape = tf.cast(tf.image.extract_jpeg_shape(data), tf.int64)
    few = shape[0] * shape[1] <= FAST_PIXELS
    return (shape[2] != 4) & few & (tf.strings.substr(data, -2, 2) == b'\xff\xd9')

  return tf.cond(tf.strings.substr(data, 0, 3) == b'\xff\xd8\xff', is_plain, lambda: False)


def _is_plain_png_or_webp(data):
  """Whether the bytes are like a PNG of 8 bits with its end, or a WebP of a lossy image alone."""

  def few(sides):
    return tf.reduce_prod(tf.cast(sides, tf.int64)) <= FAST_PIXELS

  def png():
    sides = tf.io.decode_raw(tf.strings.substr(data, 16, 8), tf.int32, little_endian=False)
    ends = tf.strings.substr(data, -8, 4) == b'IEND'
    return (tf.strings.substr(data, 24, 1) == b'\x08') & few(sides) & ends

  def webp():
    sides = tf.io.decode_raw(tf.strings.substr(data, 26, 4), tf.uint16)
    return few(tf.cast(sides, tf.int32) % 2**14)  # the other two bits are a scale

  def by_kind():
    kind = tf.strings.substr(data, 0, 4) + tf.strings.substr(data, 12, 4)
    return tf.cond(
      kind == b'\x89PNGIHDR', png, lambda: tf.cond(kind == b'RIFFVP8 ', webp, lambda: False)
    )

  return tf.cond(tf.strings.length(data) > 30, by_kind, lambda: False)


def resize(image, size: int, interpolation: str, mirrored=False, window=None):
  """Resizes uint8 [h, w, 3], antialiased, rounded and clipped; uint8 [size, size, 3].

  The kernel in ops/cpu does it if there is a C++ compiler, else TensorFlow (`plain_resize`).

  Args:
    image: uint8 [h, w, 3].
    size: height and width of the result.
    interpolation: 'bicubic' or 'bilinear'.
    mirrored: bool scalar; True mirrors the image left-right.
    window: int32 [4], for a part of the resized image: height and width of the whole, top and left
      of the part. None = the whole is [size, size].
  """
  lookup(_KERNELS, interpolation, 'interpolation (data.interpolation)')
  kernel = resizer()
  if kernel is not None:
    return kernel(image, size, interpolation, mirrored, window)
  image = plain_resize(image, size, interpolation, window)
  return tf.cond(tf.convert_to_tensor(mirrored), lambda: tf.reverse(image, [1]), lambda: image)


def plain_resize(image, size: int, interpolation: str, window=None):
  """`resize` with TensorFlow alone: the values of tf.image.resize(..., antialias=True).

  TensorFlow resizes columns pixel by pixel. Here the image is transposed, so that both directions
  work on whole rows; that takes two thirds of the time.
  """
  kernel = _KERNELS[interpolation]
  height, width = tf.unstack(tf.shape(image)[:2])
  window = (size, size, 0, 0) if window is None else window
  rows, columns, top, left = tf.unstack(tf.cast(window, tf.float32))
  image = _resize_rows(image, height, 3 * width, size, kernel, rows, top)
  image = tf.transpose(tf.reshape(image, [size, width, 3]), [1, 0, 2])
  image = _resize_rows(image, width, 3 * size, size, kernel, columns, left)
  image = tf.saturate_cast(tf.round(tf.reshape(image, [size, size, 3])), tf.uint8)
  return tf.transpose(image, [1, 0, 2])


def _resize_rows(image, rows, row_size, size: int, kernel: str, whole, offset):
  """Resizes `rows` rows of `row_size` values to `whole`; float32 [1, 1, size, row_size].

  The result are those from `offset` on.
  """
  # The operation sees each row as one pixel with `row_size` channels.
  return tf.raw_ops.ScaleAndTranslate(
    images=tf.reshape(image, [1, 1, rows, row_size]), size=[1, size],
    scale=tf.stack([1.0, whole / tf.cast(rows, tf.float32)]),
    translation=tf.stack([0.0, -offset]),
    kernel_type=kernel, antialias=True,
  )


def train_transform(data_config, image_size: int):
  """Returns the function (bytes, seed int64 [2]) -> uint8 [size, size, 3] for training.

  Args:
    data_config: `config.data`; its crop, area, aspect, flip, crop_fraction, interpolation and exif
      are used.
    image_size: pixels of the result.

  Raises:
    UserError: an unknown crop or interpolation.
  """
  interpolation, exif = data_config.interpolation, data_config.exif
  box_of = lookup(_CROPS, data_config.crop, 'crop (data.crop)')
  area, aspect = tuple(data_config.area), tuple(data_config.aspect)
  choose = functools.partial(box_of, area=area, aspect=aspect, fraction=data_config.crop_fraction)
  key = ('train', box_of, area, aspect, data_config.crop_fraction, data_config.flip, exif)

  def transform(data, seed):
    crop_values, flip_value = crop.draw(seed)
    image = decode_crop(data, functools.partial(choose, crop_values), exif)
    mirrored = flip_value < 0.5 if data_config.flip else False
    return resize(image, image_size, interpolation, mirrored)

  signature = [tf.TensorSpec([], tf.string), tf.TensorSpec([2], tf.int64)]
  return traced((*key, image_size, interpolation), transform, signature)


def eval_transform(
  image_size: int, crop_fraction: float, interpolation: str, crops: int = 1,
  crop_mode: str = 'center', exif: str = 'ignore',
):
  """Returns the function bytes -> uint8 [size, size, 3] for evaluation.

  The image is resized, and then cropped, as timm and torchvision do.

  Args:
    image_size: pixels of the result.
    crop_fraction: image_size / shorter side of the resized image.
    interpolation: 'bicubic' or 'bilinear'.
    crops: 1 = the central square; 5 = those in the four corners and the centre, which gives uint8
      [5, size, size, 3].
    crop_mode: a name of `data.preprocessing.CROP_MODES`.
    exif: as in `decode`.

  Raises:
    UserError: an unknown crop mode.
  """
  lookup(CROP_MODES, crop_mode, 'crop_mode (data.crop_mode)')

  def windows(image):
    whole = crop.resized(*tf.unstack(tf.shape(image)[:2]), image_size, crop_fraction, crop_mode)
    corners = {1: crop.center, 5: crop.five}[crops](*whole, image_size)
    return [tf.stack([*whole, top, left]) for top, left in corners]

  def transform(data):
    image = decode(data, exif)
    parts = [resize(image, image_size, interpolation, window=part) for part in windows(image)]
    return tf.stack(parts) if crops > 1 else parts[0]

  key = ('eval', image_size, crop_fraction, interpolation, crops, crop_mode, exif)
  return traced(key, transform, [tf.TensorSpec([], tf.string)])
