"""Affine maps of an image, computed as Pillow's Image.transform and Image.rotate compute them.

A map says where in the image each pixel of the result is read: at (a x + b y + c, d x + e y + f),
where (x, y) are centres of pixels, such as (0.5, 0.5). What lies outside gets the fill colour.
Pillow (src/libImaging/Geometry.c) finds the nearest pixel with 16 bits after the point, cuts an
interpolated value off instead of rounding it, and its cubic kernel has a = -1. All of it is the
same here: nearest pixels are exact, interpolated ones agree to one grey level.
"""

import math

from ecanet_jax.data.engine import tensorflow

tf = tensorflow()


def shear_x(image, amount, interpolation: str, fill):
  """Reads the row y at x + amount * y; images are uint8 [H, W, 3], amounts float64 scalars."""
  return _warp(image, (1.0, amount, 0.0), None, interpolation, fill)


def shear_y(image, amount, interpolation: str, fill):
  """Reads the column x at y + amount * x."""
  return _warp(image, None, (amount, 1.0, 0.0), interpolation, fill)


def translate_x(image, pixels, interpolation: str, fill):
  """Reads at x + pixels: a positive number moves the picture to the left."""
  return _warp(image, (1.0, 0.0, pixels), None, interpolation, fill)


def translate_y(image, pixels, interpolation: str, fill):
  """Reads at y + pixels: a positive number moves the picture up."""
  return _warp(image, None, (0.0, 1.0, pixels), interpolation, fill)


def rotate(image, degrees, interpolation: str, fill):
  """Turns the picture counter-clockwise about its middle."""
  angle = tf.convert_to_tensor(degrees, tf.float64) * (math.pi / 180)
  cos, sin = tf.cos(angle), tf.sin(angle)
  height, width = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float64) / 2)
  across = (cos, -sin, width - cos * width + sin * height)
  down = (sin, cos, height - sin * width - cos * height)
  return _warp(image, across, down, interpolation, fill)


def _warp(image, across, down, interpolation: str, fill):
  """Reads the image at across . (x, y, 1) and down . (x, y, 1); None leaves x or y as it is.

  Args:
    image: uint8 [H, W, 3].
    across, down: three float64 scalars each, or None.
    interpolation: 'nearest', 'bilinear' or 'bicubic'.
    fill: three levels, 0 to 255.
  """
  height, width = tf.unstack(tf.shape(image)[:2])
  fill = tf.constant(fill, tf.uint8)
  if interpolation == 'nearest':
    column = tf.range(width)[None] if across is None else _fixed_point(across, height, width)
    row = tf.range(height)[:, None] if down is None else _fixed_point(down, height, width)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    # The fill colour is one more pixel after the last.
    pixels = tf.concat([tf.reshape(image, [-1, 3]), fill[None]], 0)
    return tf.gather(pixels, tf.where(inside, row * width + column, height * width))

  offsets, combine = _INTERPOLATION[interpolation]
  pixels = tf.reshape(image, [-1, 3])
  columns, part_x, inside_x = _taps(across, height, width, width, offsets, tf.range(width)[None])
  rows, part_y, inside_y = _taps(down, height, width, height, offsets, tf.range(height)[:, None])
  lines = []
  for row in rows:
    read = [tf.cast(tf.gather(pixels, row * width + column), tf.float32) for column in columns]
    lines.append(read[0] if part_x is None else combine(read, part_x))
  value = lines[0] if part_y is None else combine(lines, part_y)
  # From float to uint8 is a cut, as in C.
  value = tf.cast(tf.clip_by_value(value, 0.0, 255.0), tf.uint8)
  return tf.where((inside_x & inside_y)[..., None], value, fill)


def _fixed_point(line, height, width):
  """The pixels of one direction, int32 [H, W]; Pillow adds up multiples of 2^-16."""
  double = lambda value: tf.convert_to_tensor(value, tf.float64)
  fixed = lambda value: tf.cast(tf.floor(double(value) * 65536 + 0.5), tf.int32)
  x, y = tf.range(width)[None], tf.range(height)[:, None]
  start = fixed(line[2] + line[0] * 0.5 + line[1] * 0.5)
  return tf.bitwise.right_shift(start + x * fixed(line[0]) + y * fixed(line[1]), 16)


def _taps(line, height, width, size, offsets, unchanged):
  """The pixels around each place in one direction: (list of int32 [H, W], float32 part, inside)."""
  if line is None:
    return [unchanged], None, tf.ones_like(unchanged, tf.bool)
  a, b, c = (tf.convert_to_tensor(value, tf.float64) for value in line)
  x = tf.cast(tf.range(width), tf.float64)[None] + 0.5
  y = tf.cast(tf.range(height), tf.float64)[:, None] + 0.5
  place = a * x + b * y + c
  inside = (place >= 0) & (place < tf.cast(size, tf.float64))
  first = tf.floor(place - 0.5)
  part = tf.cast(place - 0.5 - first, tf.float32)[..., None]
  first = tf.cast(tf.clip_by_value(first, -4, tf.cast(size + 4, tf.float64)), tf.int32)
  return [tf.clip_by_value(first + offset, 0, size - 1) for offset in offsets], part, inside


def _linear(values: list, part):
  left, right = values
  return left + (right - left) * part


def _cubic(values: list, part):
  before, left, right, after = values
  slope = right - before
  square = 2 * (before - left) + right - after
  cube = left - before - right + after
  return left + part * (slope + part * (square + part * cube))


_INTERPOLATION = {'bilinear': ((0, 1), _linear), 'bicubic': ((-1, 0, 1, 2), _cubic)}
INTERPOLATIONS = ('nearest', *_INTERPOLATION)
