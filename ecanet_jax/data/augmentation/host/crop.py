"""Random and fixed crops of one image, and the draw for mirroring.

The random numbers come from one stateless draw with the seed of the image, so an image of an epoch
always gives the same pixels, on any host and after any restart.
"""

import math

from ecanet_jax.data.augmentation.resampled_crop import ATTEMPTS
from ecanet_jax.data.tfdata.tf_import import tensorflow

tf = tensorflow()


def draw(seed) -> tuple:
  """Returns uniform numbers (crop, flip): float32 [10, 4] and float32 scalar in [0, 1).

  Args:
    seed: int64 [2], the epoch key and the index of the image.
  """
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
  full = tf.cast(tf.stack([[height], [width]]), tf.float32)
  low, high = math.log(aspect[0]), math.log(aspect[1])
  wanted = full[0] * full[1] * (area[0] + (area[1] - area[0]) * values[:, 0])
  shape = tf.exp(low + (high - low) * values[:, 1])
  sides = tf.round(tf.sqrt(tf.stack([wanted / shape, wanted * shape])))
  fits = tf.reduce_all((sides >= 1) & (sides <= full), 0)
  corners = tf.floor((full - sides + 1) * tf.transpose(values[:, 2:]))

  limit = tf.round(full[::-1] * tf.constant([[1 / aspect[0]], [aspect[1]]], tf.float32))
  last = tf.maximum(tf.minimum(full, limit), 1)
  # The last column always fits; argmax takes the first column that does.
  boxes = tf.concat([tf.concat([corners, sides], 0), tf.concat([(full - last) // 2, last], 0)], 1)
  fits = tf.concat([fits, [True]], 0)
  return tf.cast(tf.gather(boxes, tf.argmax(fits), axis=1), tf.int32)


def center_crop(height, width, fraction: float):
  """Returns the central square, int32 [4]: its side is `fraction` of the image's shorter side."""
  short = tf.cast(tf.minimum(height, width), tf.float32)
  side = tf.maximum(tf.cast(tf.round(short * fraction), tf.int32), 1)
  return tf.stack([(height - side) // 2, (width - side) // 2, side, side])


def resized(height, width, size: int, fraction: float, mode: str = 'center') -> tuple:
  """Returns height and width of an image before the evaluation's crop, int32 scalars.

  The shorter side is `size / fraction`, rounded down (timm/data/transforms_factory.py:
  transforms_imagenet_eval), and the longer one in proportion, as in torchvision's Resize. With the
  mode 'squash' both sides are that long.
  """
  shorter = math.floor(size / fraction)
  if mode == 'squash':
    return shorter, shorter
  return tuple(shorter * side // tf.minimum(height, width) for side in (height, width))


def center(height, width, size: int) -> list[tuple]:
  """Returns (top, left) of the central square, as torchvision's CenterCrop."""
  return [tuple(tf.cast(tf.round((side - size) / 2), tf.int32) for side in (height, width))]


def five(height, width, size: int) -> list[tuple]:
  """Returns (top, left) of the squares in the corners and the centre, as torchvision's FiveCrop."""
  down, right = height - size, width - size
  return [(0, 0), (0, right), (down, 0), (down, right), *center(height, width, size)]
