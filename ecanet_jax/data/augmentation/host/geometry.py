"""Affine maps of an image, as Pillow's Image.transform and Image.rotate compute them.

The pixel of the result with the centre (x, y), such as (0.5, 0.5), is read from the image at
(a x + b y + c, d x + e y + f). Points outside the image give the fill colour.

As in Pillow (src/libImaging/Geometry.c), the nearest pixel is found in fixed point with 16
fractional bits, interpolated values are truncated, and the cubic kernel has a = -1. Nearest pixels
are exact; interpolated pixels agree within one level.

Images are uint8 [H, W, 3] and amounts float64 scalars. interpolation is 'nearest', 'bilinear' or
'bicubic', and fill has three levels. Shears and translations copy whole rows, because TensorFlow
takes several times as long pixel by pixel.
"""

import math

from ecanet_jax.data.tfdata.tf_import import tensorflow

tf = tensorflow()


def shear_x(image, amount, interpolation: str, fill):
  """Reads the row y at x + amount * y."""
  return _move_rows(image, amount, 0.0, interpolation, fill)


def shear_y(image, amount, interpolation: str, fill):
  """Reads the column x at y + amount * x."""
  return _turned(shear_x, image, amount, interpolation, fill)


def translate_x(image, pixels, interpolation: str, fill):
  """Reads at x + pixels: a positive number moves the picture to the left."""
  if interpolation == 'nearest':  # in Pillow a separate loop, without fixed point
    height, width = tf.unstack(tf.shape(image)[:2])
    first = tf.cast(tf.floor(_double(pixels) + 0.5), tf.int32)
    return _slices(image, tf.broadcast_to(first, [height]), width, fill)
  return _move_rows(image, 0.0, pixels, interpolation, fill)


def translate_y(image, pixels, interpolation: str, fill):
  """Reads at y + pixels: a positive number moves the picture up."""
  return _turned(translate_x, image, pixels, interpolation, fill)


def rotate(image, degrees, interpolation: str, fill):
  """Rotates the picture counter-clockwise about its centre."""
  angle = _double(degrees) * (math.pi / 180)
  cos, sin = tf.cos(angle), tf.sin(angle)
  height, width = tf.unstack(_double(tf.shape(image)[:2]) / 2)
  across = (cos, -sin, width - cos * width + sin * height)
  down = (sin, cos, height - sin * width - cos * height)
  return {'nearest': _nearest, 'bilinear': _bilinear, 'bicubic': _bicubic}[interpolation](
    image, across, down, fill
  )


def _turned(function, image, amount, interpolation: str, fill):
  turned = function(tf.transpose(image, [1, 0, 2]), amount, interpolation, fill)
  return tf.transpose(turned, [1, 0, 2])


def _move_rows(image, slope, pixels, interpolation: str, fill):
  """Reads the row y at x + slope * y + pixels."""
  height, width = tf.unstack(tf.shape(image)[:2])
  slope, pixels = _double(slope), _double(pixels)
  if interpolation == 'nearest':
    start = _fixed_point(pixels + 0.5 + slope * 0.5)
    first = tf.bitwise.right_shift(start + tf.range(height) * _fixed_point(slope), 16)
    return _slices(image, first, width, fill)
  offsets, combine = _INTERPOLATION[interpolation]
  moved = slope * (_double(tf.range(height)) + 0.5) + pixels
  first = tf.floor(moved)
  part = tf.cast(moved - first, tf.float32)[:, None, None]
  # Two more pixels repeat each border for the interpolation; points further out are outside.
  left, right = image[:, :1], image[:, -1:]
  edged = tf.concat([left, left, image, right, right], 1)
  first = tf.cast(first, tf.int32) + offsets[0] + 2
  read = tf.cast(_slices(edged, first, width + len(offsets) - 1, (0, 0, 0)), tf.float32)
  value = _cut_off(combine([read[:, k : k + width] for k in range(len(offsets))], part))
  nearest = tf.cast(tf.floor(moved + 0.5), tf.int32)
  inside = _slices(tf.ones_like(image), nearest, width, (0, 0, 0))
  return _filled(value, inside, fill)


def _slices(image, first, length, fill):
  """Returns uint8 [H, length, 3]: row y from pixel first[y] on, with the fill colour outside."""
  height, width = tf.unstack(tf.shape(image)[:2])
  around = tf.broadcast_to(tf.tile(tf.constant(fill, tf.uint8), [length]), [height, 3 * length])
  wide = tf.concat([around, tf.reshape(image, [height, -1]), around], 1)
  start = length + tf.clip_by_value(first, -length, width)
  # Each row is split into three pieces: before, wanted, after.
  wanted = tf.broadcast_to(length, [height])
  pieces = tf.stack([start, wanted, length + width - start], 1)
  ends = tf.cumsum(tf.reshape(pieces, [-1]))
  found = tf.raw_ops.RaggedGather(
    params_nested_splits=[tf.concat([[0], ends], 0)],
    params_dense_values=tf.reshape(wide, [-1, 3]), indices=3 * tf.range(height) + 1,
    OUTPUT_RAGGED_RANK=1,
  )
  return tf.reshape(found.output_dense_values, [height, -1, 3])


def _nearest(image, across, down, fill):
  height, width = tf.unstack(tf.shape(image)[:2])
  x, y = tf.range(width)[None], tf.range(height)[:, None]
  column, row = (
    tf.bitwise.right_shift(
      _fixed_point(c + a * 0.5 + b * 0.5) + x * _fixed_point(a) + y * _fixed_point(b), 16
    )
    for a, b, c in (across, down)
  )
  inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
  # The fill colour is appended as one more pixel.
  pixels = tf.concat([tf.reshape(image, [-1, 3]), tf.constant([fill], tf.uint8)], 0)
  return tf.gather(pixels, tf.where(inside, row * width + column, height * width))


def _bilinear(image, across, down, fill):
  # This operation has pixel centres at whole numbers: (0, 0) is the first pixel.
  transform = [
    value for a, b, c in (across, down) for value in (a, b, c + a * 0.5 + b * 0.5 - 0.5)
  ]
  value = tf.raw_ops.ImageProjectiveTransformV3(
    images=image[None], transforms=tf.cast(tf.stack([*transform, 0.0, 0.0])[None], tf.float32),
    output_shape=tf.shape(image)[:2], fill_value=0.0, interpolation='BILINEAR',
    fill_mode='NEAREST',
  )[0]
  _, inside = _places(image, across, down)
  return _filled(value, inside, fill)


def _bicubic(image, across, down, fill):
  offsets, combine = _INTERPOLATION['bicubic']
  pixels, (height, width) = tf.reshape(image, [-1, 3]), tf.unstack(tf.shape(image)[:2])
  places, inside = _places(image, across, down)
  taps, parts = [], []
  for place, size in zip(places, (width, height), strict=True):
    first = tf.floor(place - 0.5)
    parts.append(tf.cast(place - 0.5 - first, tf.float32)[..., None])
    first = tf.cast(first, tf.int32)
    taps.append([tf.clip_by_value(first + offset, 0, size - 1) for offset in offsets])
  lines = []
  for row in taps[1]:
    read = [tf.cast(tf.gather(pixels, row * width + column), tf.float32) for column in taps[0]]
    lines.append(combine(read, parts[0]))
  return _filled(_cut_off(combine(lines, parts[1])), inside, fill)


def _places(image, across, down):
  """Returns ([x, y], inside): where pixels are read, float64 [H, W]; a 0/1 mask uint8 [H, W, 3]."""
  height, width = tf.unstack(_double(tf.shape(image)[:2]))
  x, y = tf.range(width)[None] + 0.5, tf.range(height)[:, None] + 0.5
  places = [a * x + b * y + c for a, b, c in (across, down)]
  inside = [(place >= 0) & (place < size) for place, size in zip(places, (width, height))]
  inside = tf.cast(inside[0] & inside[1], tf.uint8)
  return places, tf.stack([inside] * 3, -1)


def _filled(value, inside, fill):
  """Returns the value where `inside`, uint8 [H, W, 3], is 1 and the fill colour elsewhere."""
  # On whole rows and without tf.where, which takes a fraction of the time.
  height, width = tf.unstack(tf.shape(value)[:2])
  value, inside = (tf.reshape(array, [height, -1]) for array in (value, inside))
  outside = tf.tile(tf.constant(fill, tf.uint8), [width])[None] * (1 - inside)
  return tf.reshape(value * inside + outside, [height, width, 3])


def _fixed_point(value):
  """Returns a float64 as int32 in units of 2^-16."""
  return tf.cast(tf.floor(value * 65536 + 0.5), tf.int32)


def _double(value):
  """Returns a Python number or a tensor as a float64 tensor."""
  return tf.cast(value, tf.float64) if tf.is_tensor(value) else tf.constant(value, tf.float64)


def _cut_off(value):
  """Converts float32 to uint8 as C does: clipped and truncated."""
  return tf.cast(tf.clip_by_value(value, 0.0, 255.0), tf.uint8)


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
