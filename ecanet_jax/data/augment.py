"""What happens to one training image at random: which part of it is seen, and mirroring.

Everything is computed from one stateless draw that is seeded by the image, so that an image of an
epoch always becomes the same pixels, wherever and whenever it is read.
"""

from ecanet_jax.data.engine import tensorflow

tf = tensorflow()

ATTEMPTS = 10


def draw(seed) -> tuple:
  """Returns (crop, flip): float32 [10, 4] and float32 scalar in [0, 1), from int64 [2] `seed`."""
  values = tf.random.stateless_uniform([4 * ATTEMPTS + 1], seed)
  return tf.reshape(values[1:], [ATTEMPTS, 4]), values[0]


def inception_crop(height, width, values, area, aspect):
  """Chooses a rectangle of random area and shape inside an image.

  Szegedy et al., "Going deeper with convolutions", section 6; the distribution is that of
  torchvision's RandomResizedCrop: the area uniform, the logarithm of width / height uniform, ten
  attempts, then the largest centred rectangle that keeps the range of shapes.

  Args:
    height, width: int32 scalars, pixels.
    values: float32 [10, 4], uniform in [0, 1).
    area: smallest and largest fraction of the image's area.
    aspect: smallest and largest width / height.

  Returns:
    int32 [4]: top, left, height, width.
  """
  full_height, full_width = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
  low, high = tf.math.log(float(aspect[0])), tf.math.log(float(aspect[1]))
  wanted = full_height * full_width * (area[0] + (area[1] - area[0]) * values[:, 0])
  shape = tf.exp(low + (high - low) * values[:, 1])
  heights, widths = tf.round(tf.sqrt(wanted / shape)), tf.round(tf.sqrt(wanted * shape))
  fits = (heights >= 1) & (widths >= 1) & (heights <= full_height) & (widths <= full_width)
  tops = tf.floor((full_height - heights + 1) * values[:, 2])
  lefts = tf.floor((full_width - widths + 1) * values[:, 3])
  boxes = tf.stack([tops, lefts, heights, widths], axis=1)

  ratio = full_width / full_height
  last_width = tf.where(ratio > aspect[1], tf.round(full_height * aspect[1]), full_width)
  last_height = tf.where(ratio < aspect[0], tf.round(full_width / aspect[0]), full_height)
  last_width, last_height = tf.maximum(last_width, 1), tf.maximum(last_height, 1)
  last = tf.stack(
    [
      tf.floor((full_height - last_height) / 2),
      tf.floor((full_width - last_width) / 2),
      last_height,
      last_width,
    ]
  )
  box = tf.where(tf.reduce_any(fits), boxes[tf.argmax(fits)], last)
  return tf.cast(box, tf.int32)


def center_crop(height, width, fraction: float):
  """Returns the central square, int32 [4]: its side is `fraction` of the image's shorter side."""
  short = tf.cast(tf.minimum(height, width), tf.float32)
  side = tf.maximum(tf.cast(tf.round(short * fraction), tf.int32), 1)
  return tf.stack([(height - side) // 2, (width - side) // 2, side, side])


def mirror(image, value):
  """Mirrors `image` [H, W, 3] left-right when the uniform `value` is below a half."""
  return tf.cond(value < 0.5, lambda: tf.reverse(image, [1]), lambda: image)
