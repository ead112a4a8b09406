"""Augmentation of one decoded crop: rotation, policy, colour jitter, lighting noise.

The random numbers come from one stateless draw with the seed of the image. It is another draw than
that of the crop, so that crop and mirroring do not depend on these settings.
"""

import math
from collections.abc import Callable

import numpy as np

from ecanet_jax.data.augmentation import settings
from ecanet_jax.data.augmentation.host import color, geometry
from ecanet_jax.data.augmentation.host.operations import OPERATIONS, Fill
from ecanet_jax.data.augmentation.host.policies import POLICIES, Policy
from ecanet_jax.data.tfdata.tf_import import tensorflow, traced

tf = tensorflow()

# Uniform numbers per policy layer: operation, whether it is applied, sign, level, place (2).
LAYER = 6
JITTER = (color.brightness, color.contrast, color.saturation, color.hue)


def make_chain(config, image_size: int) -> Callable | None:
  """Returns the function (image uint8 [H, W, 3], seed int64 [2]) -> uint8 [H, W, 3].

  Args:
    config: the whole configuration; augment and data.mean are used.
    image_size: pixels of the images, H = W.

  Returns:
    The function, or None if all of it is off.

  Raises:
    UserError: see `settings.check`.
  """
  settings.check(config)
  if not settings.used_on_host(config.augment):
    return None
  augment = config.augment
  policy = None if augment.policy == 'none' else make_policy(config)

  def chain(image, seed):
    values = draw(seed, 12 + LAYER * settings.layers(augment))
    if augment.rotation:
      degrees = (2 * _double(values[0]) - 1) * augment.rotation
      image = geometry.rotate(image, degrees, 'bilinear', (0, 0, 0))
    if policy:
      image = policy(image, tf.reshape(values[12:], [-1, LAYER]))
    if any(augment.color_jitter):
      image = jitter(image, augment.color_jitter, values[1:5], values[5:9])
    if augment.lighting:
      image = color.lighting(image, augment.lighting * _normal(values[9:12]))
    return image

  key = ('chain', augment.to_json(), tuple(config.data.mean), image_size)
  image = tf.TensorSpec([image_size, image_size, 3], tf.uint8)
  return traced(key, chain, [image, tf.TensorSpec([2], tf.int64)])


def draw(seed, count: int):
  """Returns uniform float32 [count] in [0, 1); `seed` is the int64 [2] of the crop."""
  # Indices are not negative, so the inverted index is never the seed of a crop.
  return tf.random.stateless_uniform([count], tf.stack([seed[0], tf.bitwise.invert(seed[1])]))


def make_policy(config) -> Callable:
  """Returns the policy as a function (image, float32 [layers, LAYER] in [0, 1)) -> image."""
  augment = config.augment
  policy = POLICIES[augment.policy]
  interpolation = augment.interpolation or policy.interpolation
  fill = augment.fill or policy.fill or tuple(round(255 * mean) for mean in config.data.mean)
  choose = _choose_sub_policy if policy.sub_policies else _choose_operations
  names, chosen = choose(policy, augment)
  convention = policy.convention
  if augment.increasing and convention == 'timm':
    convention = 'timm_increasing'

  def apply(image, values):
    for number, level, layer in chosen(values):
      how = Fill(interpolation, tuple(fill), layer[4:6])
      image = tf.switch_case(number, [
        lambda name=name, image=image, level=level, layer=layer, how=how: operate(
          name, convention, image, level, layer[2] < 0.5, how
        )
        for name in names
      ])
    return image

  return apply


def operate(name: str, convention: str, image, level, negative, how: Fill):
  """Applies one operation at a level, float64 in [0, 1]."""
  operation = OPERATIONS[name]
  scale = operation.range(convention)
  amount = None if scale is None else scale.amount(level, negative, image)
  return tf.ensure_shape(operation.function(image, amount, how), image.shape)


def _choose_sub_policy(policy: Policy, augment):
  """Returns how AutoAugment chooses: one sub-policy per image.

  Returns:
    (names, chosen): the operations, and the function values -> (number of the operation, level,
    values) of each layer.
  """
  names = ['identity', *sorted({name for sub in policy.sub_policies for name, _, _ in sub})]
  numbers = np.array([[names.index(name) for name, _, _ in sub] for sub in policy.sub_policies])
  share = np.array([[share for _, share, _ in sub] for sub in policy.sub_policies], np.float32)
  level = np.array([[level / policy.top for _, _, level in sub] for sub in policy.sub_policies])

  def chosen(values):
    row = _below(values[0, 0], len(numbers))
    for layer in range(numbers.shape[1]):
      number, wanted, height = (
        tf.gather(table[:, layer], row) for table in (np.int32(numbers), share, level)
      )
      yield tf.where(values[layer, 1] < wanted, number, 0), height, values[layer]

  return names, chosen


def _choose_operations(policy: Policy, augment):
  """The same for RandAugment and TrivialAugment: each layer chooses one operation."""
  names = ['identity', *(name for name in policy.operations if name != 'identity')]
  numbers = np.array([names.index(name) for name in policy.operations], np.int32)

  def level_of(value):
    if policy.bins:
      return _double(_below(value, policy.bins)) / (policy.bins - 1)
    height = tf.constant(augment.magnitude, tf.float64)
    if math.isinf(augment.magnitude_std):
      height *= _double(value)
    elif augment.magnitude_std:
      height += augment.magnitude_std * _double(_normal(value))
      height = tf.clip_by_value(height, 0, policy.top)
    return height / 10

  def chosen(values):
    for layer in range(settings.layers(augment)):
      number = tf.gather(numbers, _below(values[layer, 0], len(numbers)))
      if not policy.always:
        number = tf.where(values[layer, 1] < augment.probability, number, 0)
      yield number, level_of(values[layer, 3]), values[layer]

  return names, chosen


def jitter(image, strengths, values, order):
  """Brightness, contrast, saturation and hue in random order, as torchvision's ColorJitter.

  Args:
    image: uint8 [H, W, 3].
    strengths: four numbers s. A factor is uniform in [max(0, 1 - s), 1 + s], the hue in [-s, s].
    values: uniform float32 [4] in [0, 1), for the amounts.
    order: uniform float32 [4] in [0, 1); sorting them gives the order of the operations.
  """
  used = [number for number, strength in enumerate(strengths) if strength]
  branches = []
  for number in used:
    high = strengths[number] if number == 3 else 1 + strengths[number]
    low = -high if number == 3 else max(0, 1 - strengths[number])
    amount = low + (high - low) * _double(values[number])
    branches.append((JITTER[number], amount))
  places = tf.argsort(tf.gather(order, used))
  for place in range(len(used)):
    image = tf.switch_case(places[place], [
      lambda function=function, amount=amount, image=image: tf.ensure_shape(
        function(image, amount), image.shape
      )
      for function, amount in branches
    ])
  return image


def _below(value, count: int):
  """Returns a uniform int32 below `count` from a uniform number in [0, 1)."""
  return tf.minimum(tf.cast(value * count, tf.int32), count - 1)


def _normal(value):
  """Returns a standard normal number from a uniform one in [0, 1)."""
  return tf.math.ndtri(tf.maximum(value, 1e-7))


def _double(value):
  return tf.cast(value, tf.float64)
