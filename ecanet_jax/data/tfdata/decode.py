"""Decoding and resizing of image files: JPEG, PNG, GIF (first frame), BMP and WebP.

The format is found from the bytes, not from the file's name. JPEG is decoded with the accurate DCT,
as Pillow does, and in training only in the part that the crop needs. Grey and CMYK images become
RGB. An alpha channel is dropped (as in Pillow's convert('RGB')), the EXIF orientation is ignored
(as in torchvision and timm). Resizing is antialiased, rounded and clipped to uint8, as in Pillow.
"""

import functools

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
_KERNELS = {'bicubic': 'keyscubic', 'bilinear': 'triangle'}


def decode(data):
  """Decodes a whole image.

  Args:
    data: string scalar, the bytes of the file.

  Returns:
    uint8 [H, W, 3].

  Raises:
    tf.errors.InvalidArgumentError: the bytes are not a complete image of a known format.
  """
  image = tf.cond(
    is_jpeg(data),
    lambda: tf.io.decode_jpeg(data, channels=3, dct_method='INTEGER_ACCURATE'),
    lambda: _decode_other(data),
  )
  return tf.ensure_shape(image, [None, None, 3])


def decode_crop(data, choose_box):
  """Decodes the part of an image that `choose_box(height, width)` -> int32 [4] selects.

  Args:
    data: string scalar, the bytes of the file.
    choose_box: returns top, left, height, width in pixels.

  Returns:
    uint8 [h, w, 3].
  """

  def from_jpeg():
    shape = tf.image.extract_jpeg_shape(data)
    box = choose_box(shape[0], shape[1])
    return tf.image.decode_and_crop_jpeg(data, box, channels=3, dct_method='INTEGER_ACCURATE')

  def from_other():
    image = _decode_other(data)
    shape = tf.shape(image)
    top, left, height, width = tf.unstack(choose_box(shape[0], shape[1]))
    return image[top : top + height, left : left + width]

  return tf.ensure_shape(tf.cond(is_jpeg(data), from_jpeg, from_other), [None, None, 3])


def is_jpeg(data):
  """Returns whether the bytes begin like a JPEG file, bool scalar."""
  return tf.strings.substr(data, 0, 3) == b'\xff\xd8\xff'


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
    data_config: `config.data`; its crop, area, aspect, flip, crop_fraction and interpolation are
      used.
    image_size: pixels of the result.

  Raises:
    UserError: an unknown crop or interpolation.
  """
  interpolation = data_config.interpolation
  box_of = lookup(_CROPS, data_config.crop, 'crop (data.crop)')
  area, aspect = tuple(data_config.area), tuple(data_config.aspect)
  choose = functools.partial(box_of, area=area, aspect=aspect, fraction=data_config.crop_fraction)
  key = ('train', box_of, area, aspect, data_config.crop_fraction, data_config.flip)

  def transform(data, seed):
    crop_values, flip_value = crop.draw(seed)
    image = decode_crop(data, functools.partial(choose, crop_values))
    mirrored = flip_value < 0.5 if data_config.flip else False
    return resize(image, image_size, interpolation, mirrored)

  signature = [tf.TensorSpec([], tf.string), tf.TensorSpec([2], tf.int64)]
  return traced((*key, image_size, interpolation), transform, signature)


def eval_transform(
  image_size: int, crop_fraction: float, interpolation: str, crops: int = 1,
  crop_mode: str = 'center',
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

  Raises:
    UserError: an unknown crop mode.
  """
  lookup(CROP_MODES, crop_mode, 'crop_mode (data.crop_mode)')

  def windows(image):
    whole = crop.resized(*tf.unstack(tf.shape(image)[:2]), image_size, crop_fraction, crop_mode)
    corners = {1: crop.center, 5: crop.five}[crops](*whole, image_size)
    return [tf.stack([*whole, top, left]) for top, left in corners]

  def transform(data):
    image = decode(data)
    parts = [resize(image, image_size, interpolation, window=part) for part in windows(image)]
    return tf.stack(parts) if crops > 1 else parts[0]

  key = ('eval', image_size, crop_fraction, interpolation, crops, crop_mode)
  return traced(key, transform, [tf.TensorSpec([], tf.string)])


def _decode_other(data):
  # TensorFlow takes the palette indices of a BMP for grey levels, without an error.
  palette_bmp = (tf.strings.substr(data, 0, 2) == b'BM') & (tf.strings.length(data) > 54)
  palette_bmp = tf.cond(
    palette_bmp,
    lambda: tf.strings.substr(data, 28, 2) == b'\x08\x00',
    lambda: False,
  )
  check = tf.cond(palette_bmp, lambda: _grey_palette(data), lambda: True)
  message = 'BMP with a colour palette; convert it to PNG'
  with tf.control_dependencies([tf.debugging.Assert(check, [message])]):
    return tf.io.decode_image(data, channels=3, expand_animations=False)


def _grey_palette(data):
  level = tf.range(256)
  grey = tf.reshape(tf.stack([level, level, level, 0 * level], axis=1), [-1])
  available = tf.minimum(tf.strings.length(data) - 54, 1024)
  palette = tf.cast(tf.io.decode_raw(tf.strings.substr(data, 54, available), tf.uint8), tf.int32)
  return tf.cond(
    tf.equal(tf.size(palette), 1024),
    lambda: tf.reduce_all(tf.equal(palette, grey)),
    lambda: False,
  )
