"""The operations of the policies and their strength, as one table.

Each reference defines magnitudes in its own way. A policy names the convention that it follows:

- tf: tensorflow/tpu, models/official/efficientnet/autoaugment.py, its AutoAugment;
- tf_rand: the same file, its RandAugment, with smaller translations and cutouts;
- timm, timm_increasing: timm/data/auto_augment.py, without and with `inc1`;
- torchvision: torchvision/transforms/autoaugment.py, AutoAugment;
- torchvision_wide: the same file, TrivialAugmentWide.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from ecanet_jax.data.augmentation.host import color, geometry
from ecanet_jax.data.tfdata.tf_import import tensorflow

tf = tensorflow()


@dataclasses.dataclass(frozen=True)
class Range:
  """The amount of an operation as a function of the level, 0 to 1.

  Attributes:
    low: amount at level 0.
    high: amount at level 1.
    signed: with probability 1/2 the amount is mirrored about `low`.
    whole: rounding of the amount: 'down', 'up' or 'nearest'; '' = none.
    side: the amount is a fraction of the image's 'height' or 'width'; '' = it is absolute.
  """

  low: float
  high: float
  signed: bool = False
  whole: str = ''
  side: str = ''

  def amount(self, level, negative, image):
    """Returns the float64 scalar for a level (float64), a sign (bool) and an image [H, W, 3]."""
    amount = self.low + (self.high - self.low) * level
    if self.side:
      amount *= tf.cast(tf.shape(image)[('height', 'width').index(self.side)], tf.float64)
    if self.whole:
      amount = {'down': tf.floor, 'up': tf.math.ceil, 'nearest': tf.round}[self.whole](amount)
    return tf.where(negative, 2 * self.low - amount, amount) if self.signed else amount


@dataclasses.dataclass(frozen=True)
class Fill:
  """How an operation fills new pixels.

  Attributes:
    interpolation: 'nearest', 'bilinear' or 'bicubic'.
    color: three levels for pixels outside the image.
    place: float [2] in [0, 1): the centre of cutout, as a fraction of height and width.
  """

  interpolation: str
  color: tuple[int, int, int]
  place: Any = (0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Operation:
  """A function (image, amount, `Fill`) -> image, and its range in each convention that has it.

  tf_rand defaults to tf, timm_increasing to timm and torchvision_wide to torchvision.
  """

  function: Callable
  tf: Range | None = None
  timm: Range | None = None
  torchvision: Range | None = None
  tf_rand: Range | None = None
  timm_increasing: Range | None = None
  torchvision_wide: Range | None = None

  def range(self, convention: str) -> Range | None:
    """Returns the range in a convention, or None if the operation has no amount."""
    return getattr(self, convention) or getattr(self, convention.partition('_')[0])


def cutout(image, half, fill: Fill):
  """Fills a square of side 2 * half around a random pixel (DeVries and Taylor, 1708.04552)."""
  height, width = tf.unstack(tf.shape(image)[:2])
  half = tf.cast(half, tf.int32)
  covered = []
  for size, place in zip((height, width), tf.unstack(tf.cast(fill.place, tf.float32)), strict=True):
    center = tf.cast(tf.floor(place * tf.cast(size, tf.float32)), tf.int32)
    line = tf.range(size)
    covered.append(tf.cast((line >= center - half) & (line < center + half), tf.uint8))
  inside = covered[0][:, None] * tf.repeat(covered[1], 3)[None]
  color = tf.tile(tf.constant(fill.color, tf.uint8), [width])[None]
  cut = tf.reshape(image, [height, -1]) * (1 - inside) + color * inside
  return tf.reshape(cut, [height, width, 3])


def _geometric(function) -> Callable:
  return lambda image, amount, fill: function(image, amount, fill.interpolation, fill.color)


def _colored(function) -> Callable:
  return lambda image, amount, fill: function(image, amount)


def _plain(function) -> Callable:
  return lambda image, amount, fill: function(image)


_SHEAR = {
  'tf': Range(0, 0.3, signed=True), 'timm': Range(0, 0.3, signed=True),
  'torchvision': Range(0, 0.3, signed=True), 'torchvision_wide': Range(0, 0.99, signed=True),
}
_ENHANCE = {
  'tf': Range(0.1, 1.9), 'timm': Range(0.1, 1.9), 'timm_increasing': Range(1, 1.9, signed=True),
  'torchvision': Range(1, 1.9, signed=True), 'torchvision_wide': Range(1, 1.99, signed=True),
}


def _translate(side: str) -> dict[str, Range]:
  return {
    'tf': Range(0, 250, signed=True), 'tf_rand': Range(0, 100, signed=True),
    'timm': Range(0, 0.45, signed=True, side=side),
    'torchvision': Range(0, 150 / 331, signed=True, whole='down', side=side),
    'torchvision_wide': Range(0, 32, signed=True, whole='down'),
  }


OPERATIONS: dict[str, Operation] = {
  'identity': Operation(_plain(lambda image: image)),
  'shear_x': Operation(_geometric(geometry.shear_x), **_SHEAR),
  'shear_y': Operation(_geometric(geometry.shear_y), **_SHEAR),
  'translate_x': Operation(_geometric(geometry.translate_x), **_translate('width')),
  'translate_y': Operation(_geometric(geometry.translate_y), **_translate('height')),
  'rotate': Operation(
    _geometric(geometry.rotate), tf=Range(0, 30, signed=True), timm=Range(0, 30, signed=True),
    torchvision=Range(0, 30, signed=True), torchvision_wide=Range(0, 135, signed=True),
  ),
  'brightness': Operation(_colored(color.brightness), **_ENHANCE),
  'color': Operation(_colored(color.saturation), **_ENHANCE),
  'contrast': Operation(_colored(color.contrast), **_ENHANCE),
  'sharpness': Operation(_colored(color.sharpness), **_ENHANCE),
  'posterize': Operation(
    _colored(color.posterize), tf=Range(0, 4, whole='down'), timm=Range(0, 4, whole='down'),
    timm_increasing=Range(4, 0, whole='up'), torchvision=Range(8, 4, whole='nearest'),
    torchvision_wide=Range(8, 2, whole='nearest'),
  ),
  'solarize': Operation(
    _colored(color.solarize), tf=Range(0, 256, whole='down'), timm=Range(0, 256, whole='down'),
    timm_increasing=Range(256, 0, whole='up'), torchvision=Range(255, 0),
  ),
  'solarize_add': Operation(
    _colored(color.solarize_add), tf=Range(0, 110, whole='down'), timm=Range(0, 110, whole='down'),
  ),
  'autocontrast': Operation(_plain(color.autocontrast)),
  'equalize': Operation(_plain(color.equalize)),
  'invert': Operation(_plain(color.invert)),
  'cutout': Operation(cutout, tf=Range(0, 100, whole='down'), tf_rand=Range(0, 40, whole='down')),
}
