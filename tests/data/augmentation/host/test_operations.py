"""Every operation against timm's and torchvision's on Pillow images."""

import math

import numpy as np
import pytest
import tensorflow as tf
import timm.data.auto_augment as timm_augment
import torchvision.transforms.autoaugment as torchvision_augment
import torchvision.transforms.functional as functional
from PIL import Image
from torchvision.transforms import InterpolationMode

from ecanet_jax.data.augmentation.host import chain, color
from ecanet_jax.data.augmentation.host.operations import OPERATIONS, Fill, cutout
from ecanet_jax.data.augmentation.host.policies import POLICIES
from tests.support.augmentation import INCREASING, TIMM, TORCHVISION, pillow, same, timm_name
from tests.support.pictures import pictures

FILL = (124, 116, 104)
MODES = {
  'nearest': InterpolationMode.NEAREST, 'bilinear': InterpolationMode.BILINEAR,
  'bicubic': InterpolationMode.BICUBIC,
}
PILLOW = {
  'nearest': Image.Resampling.NEAREST, 'bilinear': Image.Resampling.BILINEAR,
  'bicubic': Image.Resampling.BICUBIC,
}
GEOMETRIC = ('shear_x', 'shear_y', 'translate_x', 'translate_y', 'rotate')
ENHANCE = ('brightness', 'color', 'contrast', 'sharpness')


def on_a_border(name, amount, shape, interpolation):
  """Pixels read from exactly between two, or between image and fill: [H, W].

  There the last bit of a sum decides, such as that of 0.4 * 0.45 * 25 in one order or the other.
  """
  height, width = shape[:2]
  y, x = np.indices((height, width)) + 0.5
  if name == 'rotate':
    cos, sin, middle = math.cos(math.radians(amount)), math.sin(math.radians(amount)), width / 2
    right, down = x - middle, y - height / 2
    places = [(cos * right - sin * down + middle, width),
              (sin * right + cos * down + height / 2, height)]
  elif name.startswith(('shear', 'translate')):
    along, across, size = (x, y, width) if name.endswith('_x') else (y, x, height)
    places = [(along + amount * (across if name.startswith('shear') else 1), size)]
  else:
    places = []
  unsure = np.zeros((height, width), bool)
  for place, size in places:
    border = np.round(place)
    if interpolation != 'nearest':
      border = np.where(place < size / 2, 0, size)
    unsure |= np.abs(place - border) < 1e-9
  return unsure


def ours(name, convention, image, level, negative, interpolation='nearest', fill=FILL):
  return chain.operate(
    name, convention, tf.constant(image), tf.constant(level, tf.float64), negative,
    Fill(interpolation, fill),
  )


def compare_timm(monkeypatch, images, levels, grey):
  for negative in (False, True):
    monkeypatch.setattr(timm_augment, '_randomly_negate', lambda v, n=negative: -v if n else v)
    for name in TIMM:
      for convention in ('timm', 'timm_increasing') if name in INCREASING else ('timm',):
        theirs, scale = timm_name(name, convention), OPERATIONS[name].range(convention)
        if negative and not (scale and scale.signed):
          continue
        for interpolation in PILLOW if name in GEOMETRIC else ('nearest',):
          hparams = {'img_mean': FILL[0] if grey else FILL, 'interpolation': PILLOW[interpolation]}
          for level in levels:
            operation = timm_augment.AugmentOp(theirs, 1.0, level, hparams)
            if 'Posterize' in theirs and operation.level_fn(level, {})[0] < 1:
              continue  # an error in Pillow 13
            for image in images:
              amount = scale and float(scale.amount(level / 10, negative, image))
              same(
                ours(name, convention, image, level / 10, negative, interpolation,
                     (FILL[0],) * 3 if grey else FILL),
                operation(pillow(image, grey)), int(interpolation in ('bilinear', 'bicubic')),
                (theirs, level, negative, interpolation, image.shape),
                on_a_border(name, amount, image.shape, interpolation),
              )


def compare_torchvision(images, levels, grey):
  """Levels are the numbers of bins: of 10 in AutoAugment, of 31 in TrivialAugment."""
  spaces = {
    'torchvision': lambda size: torchvision_augment.AutoAugment()._augmentation_space(10, size),
    'torchvision_wide': lambda size: torchvision_augment.TrivialAugmentWide()._augmentation_space(
      31
    ),
  }
  for convention, space in spaces.items():
    top = 9 if convention == 'torchvision' else 30
    for image in images:
      for theirs, (magnitudes, signed) in space(image.shape[:2]).items():
        name = next(key for key, value in TORCHVISION.items() if value == theirs)
        for level in levels if magnitudes.ndim else [0]:
          bin_ = round(level / 9 * top)
          magnitude = magnitudes[bin_].item() if magnitudes.ndim else 0.0
          for negative in (False, True) if signed else (False,):
            for interpolation in ('nearest', 'bilinear') if name in GEOMETRIC else ('nearest',):
              expected = -magnitude if negative else magnitude
              scale, amount = OPERATIONS[name].range(convention), 0.0
              if scale is not None:
                level = tf.constant(bin_ / top, tf.float64)
                amount = float(scale.amount(level, negative, image))
                amount -= 1.0 if name in ENHANCE else 0.0  # theirs is the change
                whole = int(expected) if theirs.startswith('Translate') else expected
                assert amount == pytest.approx(whole, rel=1e-6, abs=1e-9)
              if name.startswith('shear'):
                # It goes through an angle, which moves what is exactly on the border.
                angles = [0.0, 0.0]
                angles[name == 'shear_y'] = math.degrees(math.atan(amount))
                matrix = functional._get_inverse_affine_matrix([0, 0], 0.0, [0, 0], 1.0, angles)
                assert matrix[1 if name == 'shear_x' else 3] == pytest.approx(amount, abs=1e-12)
              # torchvision moves the picture, Pillow the place where it is read. Its magnitudes are
              # rounded to float32.
              result = torchvision_augment._apply_op(
                pillow(image, grey), theirs, -amount if theirs.startswith('Translate') else amount,
                MODES[interpolation], [FILL[0]] if grey else list(FILL),
              )
              if name.startswith('shear'):
                amount = matrix[1 if name == 'shear_x' else 3]
              amount += 1.0 if name in ENHANCE else 0.0
              fill = Fill(interpolation, (FILL[0],) * 3 if grey else FILL)
              arguments = tf.constant(image), tf.constant(amount, tf.float64), fill
              same(
                OPERATIONS[name].function(*arguments), result,
                int(interpolation == 'bilinear'),
                (convention, theirs, bin_, negative, interpolation, image.shape),
                on_a_border(name, amount, image.shape, interpolation),
              )


@pytest.mark.parametrize('grey', [False, True])
def test_operations_are_those_of_timm(monkeypatch, grey):
  compare_timm(monkeypatch, pictures(1 if grey else 3, grey), [1, 5, 10], grey)


@pytest.mark.slow
@pytest.mark.parametrize('grey', [False, True])
def test_operations_are_those_of_timm_20_images_10_magnitudes(monkeypatch, grey):
  compare_timm(monkeypatch, pictures(20, grey), range(1, 11), grey)


@pytest.mark.parametrize('grey', [False, True])
def test_operations_are_those_of_torchvision(grey):
  compare_torchvision(pictures(1, grey), [1, 5, 9], grey)


@pytest.mark.slow
@pytest.mark.parametrize('grey', [False, True])
def test_operations_are_those_of_torchvision_20_images_10_magnitudes(grey):
  compare_torchvision(pictures(20, grey), range(10), grey)


def hues(images, turns, grey):
  for image in images:
    for turn in turns:
      theirs = functional.adjust_hue(pillow(image, grey), turn)
      same(color.hue(tf.constant(image), turn), theirs, 0, (turn, image.shape))


@pytest.mark.parametrize('grey', [False, True])
def test_hue_is_that_of_torchvision(grey):
  hues(pictures(3, grey), [-0.5, -0.1, 0.3], grey)


@pytest.mark.slow
@pytest.mark.parametrize('grey', [False, True])
def test_hue_is_that_of_torchvision_20_images_10_turns(grey):
  hues(pictures(20, grey), np.linspace(-0.5, 0.5, 10).tolist(), grey)


@pytest.mark.slow
def test_hue_of_every_colour():
  level = np.arange(256, dtype=np.uint8)
  for red in range(256):
    image = np.stack(np.broadcast_arrays(level[red], level[:, None], level[None]), -1)
    same(color.hue(tf.constant(image), 0.31), functional.adjust_hue(pillow(image, False), 0.31), 0,
         red)


@pytest.mark.parametrize('name', OPERATIONS)
def test_amounts_of_tensorflow(name):
  """By hand from tensorflow/tpu autoaugment.py: level_to_arg, with the constants of each caller."""
  formulas = {
    'rotate': lambda m: m / 10 * 30, 'shear_x': lambda m: m / 10 * 0.3,
    'shear_y': lambda m: m / 10 * 0.3, 'posterize': lambda m: int(m / 10 * 4),
    'solarize': lambda m: int(m / 10 * 256), 'solarize_add': lambda m: int(m / 10 * 110),
  } | dict.fromkeys(
    ('color', 'contrast', 'brightness', 'sharpness'), lambda m: m / 10 * 1.8 + 0.1
  )
  for convention, (cut, move) in {'tf': (100, 250), 'tf_rand': (40, 100)}.items():
    formulas |= {
      'cutout': lambda m, cut=cut: int(m / 10 * cut), 'translate_x': lambda m, by=move: m / 10 * by,
      'translate_y': lambda m, by=move: m / 10 * by,
    }
    scale = OPERATIONS[name].range(convention)
    assert (scale is None) == (name not in formulas)
    for magnitude in range(31 if scale else 0):
      level = tf.constant(magnitude / 10, tf.float64)
      expected = formulas[name](magnitude)
      image = np.zeros((8, 8, 3), np.uint8)
      assert float(scale.amount(level, False, image)) == pytest.approx(expected, abs=1e-12)
      signed = name in GEOMETRIC
      expected = -expected if signed else expected
      assert float(scale.amount(level, True, image)) == pytest.approx(expected, abs=1e-12)


def test_one_bit_is_left_where_tensorflow_asks_for_none():
  image = pictures(2, False)[1]
  assert sorted(np.unique(color.posterize(image, 0))) == [0, 128]
  # tf.bitwise shifts 8 bits by 7 at most, so that this is what the published training did.
  shift = tf.constant(8, tf.uint8)
  theirs = tf.bitwise.left_shift(tf.bitwise.right_shift(tf.constant(image), shift), shift)
  np.testing.assert_array_equal(color.posterize(image, 0), theirs)


def test_cutout_covers_a_square_and_nothing_else():
  image = np.full((40, 60, 3), 7, np.uint8)
  result = cutout(tf.constant(image), 5, Fill('nearest', (1, 2, 3), (0.5, 0.25))).numpy()
  expected = image.copy()
  expected[15:25, 10:20] = (1, 2, 3)
  np.testing.assert_array_equal(result, expected)
  result = cutout(tf.constant(image), 5, Fill('nearest', (1, 2, 3), (0.0, 0.999))).numpy()
  expected = image.copy()
  expected[:5, 54:] = (1, 2, 3)
  np.testing.assert_array_equal(result, expected)


def test_lighting_adds_the_principal_colours():
  image = np.full((2, 2, 3), 128, np.uint8)
  normal = np.array([0.1, -0.2, 0.05], np.float32)
  # fb.resnet.torch datasets/transforms.lua: the sum over rows of eigenvector * alpha * eigenvalue.
  vectors, values = np.array(color.EIGENVECTORS), np.array(color.EIGENVALUES)
  shift = [sum(vectors[c, i] * normal[i] * values[i] for i in range(3)) * 255 for c in range(3)]
  np.testing.assert_array_equal(
    color.lighting(tf.constant(image), tf.constant(normal))[0, 0], np.round(128 + np.array(shift))
  )
  # The eigenvectors are of length one and at right angles, as printed to four digits.
  np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=2e-3)


def test_every_operation_of_a_policy_is_in_the_table():
  for policy in POLICIES.values():
    used = {name for sub in policy.sub_policies for name, _, _ in sub} | set(policy.operations)
    for name in used:
      without_amount = ('identity', 'autocontrast', 'equalize', 'invert')
      assert (OPERATIONS[name].range(policy.convention) is None) == (name in without_amount)
