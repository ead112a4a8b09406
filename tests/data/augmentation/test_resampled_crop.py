"""Crops of images that are held: TensorFlow's rectangles, Pillow's and TensorFlow's pixels."""

import types

import jax
import numpy as np
import pytest
from PIL import Image

from ecanet_jax.config import schema
from ecanet_jax.data import shuffling
from ecanet_jax.data.augmentation import resampled_crop
from ecanet_jax.data.augmentation.resampled_crop import (
  ONE,
  Sampler,
  Taps,
  inception_boxes,
  resample,
  taps,
)
from ecanet_jax.runtime.errors import UserError
from tests.support.imagenet_tars import encode, smooth_image

KEYS = np.full((400,), 5)


def sampler(crop, side, size, flip=False, interpolation='bilinear', area=(0.08, 1.0)):
  return Sampler(types.SimpleNamespace(
    crop=crop, flip=flip, interpolation=interpolation, area=area, aspect=(3 / 4, 4 / 3),
  ), side, size)


def taps_of(box, size, interpolation):
  """Taps of one rectangle, without a sampler."""
  (index, weight), first = taps(np.array(box[2:]), size, interpolation), np.array(box[:2])
  index = index + first[:, None, None]
  return Taps(index[0], weight[0], index[1], weight[1])


@pytest.mark.parametrize(('height', 'width'), [(8, 8), (28, 28), (224, 224), (30, 47), (10, 1000)])
@pytest.mark.parametrize('area', [(0.08, 1.0), (0.8, 1.0), (1.0, 1.0)])
def test_rectangles_are_those_of_tensorflow(height, width, area):
  tf = pytest.importorskip('tensorflow')
  from ecanet_jax.data.augmentation.host.crop import inception_crop

  aspect = (3 / 4, 4 / 3)
  values = shuffling.uniform(np.full((2000,), 7), np.arange(2000), 40).reshape(-1, 10, 4)
  values = np.minimum(values.astype(np.float32), np.float32(1 - 2**-24))
  one = lambda draws: inception_crop(height, width, draws, area, aspect)
  expected = tf.function(lambda v: tf.map_fn(one, v, fn_output_signature=tf.int32))(values).numpy()
  found = inception_boxes(values.astype(np.float64), height, width, area, aspect)
  assert found.dtype == np.int32
  # It rounds to float32, which is another whole number once in about a million.
  assert (found != expected).any(axis=1).sum() <= 1
  assert (found[:, :2] >= 0).all() and (found[:, 2:] >= 1).all()
  assert (found[:, :2] + found[:, 2:] <= (height, width)).all()


def test_the_largest_draw_is_inside():
  draws = np.full((1, 10, 4), 1 - 2.0**-53)
  for side in range(1, 300):
    top, left, height, width = inception_boxes(draws, side, side, (0.08, 0.3), (3 / 4, 4 / 3))[0]
    assert top + height <= side and left + width <= side


@pytest.mark.parametrize(('interpolation', 'count'), [('bilinear', 2), ('bicubic', 4)])
@pytest.mark.parametrize('size', [1, 2, 17, 32])
def test_weights_are_whole_and_together_one(interpolation, count, size):
  length = np.arange(1, size + 1)
  index, weight = taps(length, size, interpolation)
  assert index.shape == weight.shape == (size, size, count)
  assert index.dtype == weight.dtype == np.int32
  assert (weight.sum(axis=-1) == ONE).all()
  assert index.min() >= 0 and (index < length[:, None, None]).all()
  # The largest sum that a pixel can come to, and every sum on the way to it.
  assert 255 * np.abs(weight.astype(np.int64)).sum(axis=-1).max() ** 2 + ONE * ONE // 2 < 2**31


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
def test_all_of_an_image_of_the_size_is_itself(interpolation):
  image = np.random.RandomState(0).randint(0, 256, (19, 19, 3)).astype(np.uint8)
  found = resample(image, taps_of((0, 0, 19, 19), 19, interpolation))
  assert found.dtype == np.uint8
  np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
def test_pixels_are_those_of_pillow_and_tensorflow(interpolation):
  pytest.importorskip('tensorflow')
  from ecanet_jax.data.tfdata.decode import plain_resize

  random = np.random.RandomState(0)
  noise = random.randint(0, 256, (23, 31, 3)).astype(np.uint8)
  smooth = (64 + np.asarray(smooth_image(random, 23, 31)) // 2).astype(np.uint8)
  method = Image.Resampling[interpolation.upper()]
  boxes = inception_boxes(random.uniform(size=(25, 10, 4)), 23, 31, (0.02, 1.0), (3 / 4, 4 / 3))
  for number, (top, left, height, width) in enumerate(boxes):
    size = 31 + number % 7
    for image in (noise, smooth):
      found = resample(image, taps_of((top, left, height, width), size, interpolation)).astype(int)
      part = image[top : top + height, left : left + width]
      theirs = plain_resize(part, size, interpolation).numpy()
      assert np.abs(found - theirs).max() <= 1
      # Pillow rounds and clips after each of the two passes, which noise would show.
      if image is smooth:
        theirs = np.asarray(Image.fromarray(part).resize((size, size), method))
        assert np.abs(found - theirs).max() <= 1


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
@pytest.mark.parametrize('flip', [False, True])
def test_the_same_draws_give_the_pixels_of_tf_data(flip, interpolation):
  tf = pytest.importorskip('tensorflow')
  from ecanet_jax.data.augmentation.host import crop
  from ecanet_jax.data.tfdata import decode

  data = schema.get_config().data
  data.flip, data.interpolation = flip, interpolation
  picture = smooth_image(np.random.RandomState(0), 28, 28)
  file, pixels = tf.constant(encode(picture, 'PNG')), np.asarray(picture)
  transform = decode.train_transform(data, 32)
  for index in range(40):
    seed = tf.constant([3, index], tf.int64)
    values, mirror = crop.draw(seed)
    draws = values.numpy().astype(np.float64)[None]
    box = inception_boxes(draws, 28, 28, tuple(data.area), tuple(data.aspect))[0]
    found = resample(pixels, taps_of(box, 32, interpolation)).astype(int)
    found = found[:, ::-1] if flip and mirror < 0.5 else found
    assert np.abs(found - transform(file, seed).numpy()).max() <= 1


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
@pytest.mark.parametrize('crop', resampled_crop.CROPS)
def test_numpy_and_xla_make_the_same_pixels(crop, interpolation):
  side = 11 if crop == 'inception' else 13
  random = np.random.RandomState(0)
  images = np.concatenate([
    random.randint(0, 256, (32, side, side, 3)), random.choice([0, 255], (32, side, side, 3))
  ]).astype(np.uint8)  # with as much overshoot as there can be
  drawn = sampler(crop, side, 13, True, interpolation).draw(KEYS[:64], np.arange(64))
  found = jax.jit(jax.vmap(resample))(images, drawn)
  for image, result, *one in zip(images, np.asarray(found), *drawn):
    np.testing.assert_array_equal(result, resample(image, Taps(*one)))
    exact = np.zeros((13, side, 3), np.int64)  # rows, then columns
    rows, row_weights, columns, column_weights = one
    for k in range(rows.shape[1]):
      exact += row_weights[:, k, None, None].astype(np.int64) * image[rows[:, k]]
    exact = sum(
      column_weights[None, :, k, None] * exact[:, columns[:, k]] for k in range(rows.shape[1])
    )
    np.testing.assert_array_equal(result, np.clip(np.floor(exact / ONE**2 + 0.5), 0, 255))


@pytest.mark.parametrize('flip', [True, False])
@pytest.mark.parametrize(('crop', 'divisor'), [('shift', 8), ('center', 0)])
@pytest.mark.parametrize('size', [16, 28, 48])
def test_shifts_are_those_of_before(size, crop, divisor, flip):
  """Their first formula, which published results were trained with."""
  images = np.random.RandomState(0).randint(0, 256, (200, size, size, 3)).astype(np.uint8)
  indices = np.arange(1000, 1200)
  shift = size // divisor if divisor else 0
  draws = shuffling.uniform(KEYS[:200], indices, 3)
  offset = np.floor(draws[:, :2] * (2 * shift + 1)).astype(np.int64) - shift
  column = np.broadcast_to(np.arange(size), (200, size))
  column = np.where(((draws[:, 2] < 0.5) & flip)[:, None], column[:, ::-1], column)
  row = np.clip(np.arange(size) + offset[:, :1], 0, size - 1)
  column = np.clip(column + offset[:, 1:], 0, size - 1)
  expected = images[np.arange(200)[:, None, None], row[:, :, None], column[:, None, :]]
  drawn = sampler(crop, size, size, flip).draw(KEYS[:200], indices)
  assert all(array.shape == (200, size, 1) and array.dtype == np.int32 for array in drawn)
  for image, pixels, *one in zip(images, expected, *drawn):
    np.testing.assert_array_equal(resample(image, Taps(*one)), pixels)


def test_shifts_and_mirroring():
  image = np.zeros((16, 16, 3), np.uint8)
  image[4, 4] = 255
  drawn = sampler('shift', 16, 16, True).draw(KEYS, np.arange(400))
  moved = np.stack([resample(image, Taps(*one)) for one in zip(*drawn)])
  rows, columns = np.nonzero(moved[..., 0])[1:]
  assert set(rows) == {2, 3, 4, 5, 6}
  assert set(columns) == {2, 3, 4, 5, 6, 9, 10, 11, 12, 13}


@pytest.mark.parametrize('crop', resampled_crop.CROPS)
def test_mirroring_is_one_in_two_and_changes_nothing_else(crop):
  size, indices = 24, np.arange(400)
  side = 10 if crop == 'inception' else size
  plain = sampler(crop, side, size).draw(KEYS, indices)
  drawn = sampler(crop, side, size, flip=True).draw(KEYS, indices)
  np.testing.assert_array_equal(drawn.rows, plain.rows)
  np.testing.assert_array_equal(drawn.row_weights, plain.row_weights)
  mirrored = (drawn.columns != plain.columns).any(axis=(1, 2))
  assert 150 < mirrored.sum() < 250
  for name in ('columns', 'column_weights'):
    expected = getattr(plain, name).copy()
    expected[mirrored] = expected[mirrored][:, ::-1]
    np.testing.assert_array_equal(getattr(drawn, name), expected)


def test_area_is_what_the_settings_say():
  for low, high in ((0.08, 1.0), (0.5, 0.6), (1.0, 1.0)):
    drawn = sampler('inception', 100, 100, area=(low, high)).draw(KEYS, np.arange(400))
    seen = [
      (index.max(axis=(1, 2)) - index.min(axis=(1, 2)) + 1) / 100
      for index in (drawn.rows, drawn.columns)
    ]
    area, aspect = seen[0] * seen[1], seen[1] / seen[0]
    assert low - 0.02 <= area.min() and area.max() <= high + 0.02
    assert aspect.min() > 3 / 4 - 0.05 and aspect.max() < 4 / 3 + 0.07


def test_unknown_names():
  with pytest.raises(UserError, match=r"unknown crop \(data\.crop\) 'incepton'\. Did you mean 'inc"
                     r"eption'\? Known: center, inception, shift\."):
    sampler('incepton', 8, 8)
  with pytest.raises(UserError, match=r"unknown interpolation \(data\.interpolation\) 'cubic'\."):
    sampler('inception', 8, 8, interpolation='cubic')
