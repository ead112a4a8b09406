"""From the bytes of an image file to pixels: JPEG, PNG, GIF (first frame), BMP and WebP.

What the bytes are is read from the bytes, never from a file's name. JPEG is decoded with the
accurate DCT, which gives the pixels that Pillow gives, and only the part that the crop needs.
Grey and CMYK images become RGB, an alpha channel is dropped (as Pillow's convert('RGB') does), the
EXIF orientation is ignored (as in torchvision and timm). Resizing averages over the source pixels
when it shrinks (antialias), rounds and clips to uint8, as Pillow does.
"""

import functools

from ecanet_jax.data.augmentation.host import crop
from ecanet_jax.data.tfdata.tf_import import tensorflow
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


def resize(image, size: int, interpolation: str, mirrored=False):
  """Resizes uint8 [h, w, 3] to uint8 [size, size, 3], antialiased, rounded and clipped.

  By our own kernel where there is a C++ compiler, else by TensorFlow; see `plain_resize`.

  Args:
    image: uint8 [h, w, 3].
    size: height and width of the result.
    interpolation: 'bicubic' or 'bilinear'.
    mirrored: bool scalar, whether left and right change places.
  """
  lookup(_KERNELS, interpolation, 'interpolation (data.interpolation)')
  kernel = resizer()
  if kernel is not None:
    return kernel(image, size, interpolation, mirrored)
  image = plain_resize(image, size, interpolation)
  return tf.cond(tf.convert_to_tensor(mirrored), lambda: tf.reverse(image, [1]), lambda: image)


def plain_resize(image, size: int, interpolation: str):
  """`resize` by TensorFlow alone.

  The values are those of tf.image.resize(..., antialias=True). Its columns are a loop over single
  pixels of three channels; here each direction works on whole rows, which takes two thirds of the
  time, transpositions included.
  """
  kernel = _KERNELS[interpolation]
  height, width = tf.unstack(tf.shape(image)[:2])
  image = tf.reshape(_resize_rows(image, height, 3 * width, size, kernel), [size, width, 3])
  image = tf.transpose(image, [1, 0, 2])
  image = _resize_rows(image, width, 3 * size, size, kernel)
  image = tf.saturate_cast(tf.round(tf.reshape(image, [size, size, 3])), tf.uint8)
  return tf.transpose(image, [1, 0, 2])


def _resize_rows(image, rows, row_size, size: int, kernel: str):
  """From `rows` rows of `row_size` values to float32 [1, 1, size, row_size]."""
  # To this operation a row is one pixel with many channels.
  return tf.raw_ops.ScaleAndTranslate(
    images=tf.reshape(image, [1, 1, rows, row_size]), size=[1, size],
    scale=tf.stack([1.0, size / tf.cast(rows, tf.float32)]), translation=[0.0, 0.0],
    kernel_type=kernel, antialias=True,
  )


def train_transform(data_config):
  """Returns the function (bytes, seed int64 [2]) -> uint8 [size, size, 3] for training.

  Args:
    data_config: `config.data`; its crop, area, aspect, flip, image_size and interpolation are used.

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
    return resize(image, data_config.image_size, interpolation, mirrored)

  signature = [tf.TensorSpec([], tf.string), tf.TensorSpec([2], tf.int64)]
  return _compiled((*key, data_config.image_size, interpolation), transform, signature)


def eval_transform(data_config, crops: int = 1):
  """Returns the function bytes -> uint8 [size, size, 3] for evaluation.

  The central square whose side is crop_fraction of the shorter side, resized to image_size; with
  crops=5 uint8 [5, size, size, 3]: those in the corners, too.
  """
  size, fraction = data_config.image_size, data_config.crop_fraction
  interpolation = data_config.interpolation

  def center(data):
    box = functools.partial(crop.center_crop, fraction=fraction)
    return resize(decode_crop(data, box), size, interpolation)

  def five(data):
    image = decode(data)
    boxes = crop.five_crops(*tf.unstack(tf.shape(image)[:2]), fraction)
    parts = [image[y : y + h, x : x + w] for y, x, h, w in map(tf.unstack, boxes)]
    return tf.stack([resize(part, size, interpolation) for part in parts])

  key = ('eval', size, fraction, interpolation, crops)
  transform = {1: center, 5: five}[crops]
  return _compiled(key, transform, [tf.TensorSpec([], tf.string)])


_traced: dict = {}


def _compiled(key: tuple, transform, signature: list):
  """Traces a transform once per process and settings: every evaluation builds a new pipeline."""
  if key not in _traced:
    function = tf.function(transform, input_signature=signature, autograph=False)
    _traced[key] = function.get_concrete_function()
  return _traced[key]


def _decode_other(data):
  # TensorFlow reads the colour numbers of a BMP with a palette as grey levels, without a word.
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
