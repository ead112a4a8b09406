"""Decoding against Pillow, the statistics of the crops, and images that are broken."""

import io
import itertools
import shutil

import numpy as np
import pytest
from PIL import Image

from ecanet_jax import data
from ecanet_jax.config import schema
from ecanet_jax.runtime.errors import UserError
from tests.support.imagenet_tars import encode, smooth_image

tf = pytest.importorskip('tensorflow')

PICTURE = smooth_image(np.random.RandomState(1), 48, 64)
GREY = PICTURE.convert('L')
MATRIX = {
  'jpeg': encode(PICTURE, quality=95),
  'progressive': encode(PICTURE, quality=95, progressive=True),
  'grey jpeg': encode(GREY, quality=95),
  'cmyk jpeg': encode(PICTURE.convert('CMYK'), quality=95),
  'png': encode(PICTURE, 'PNG'),
  'grey png': encode(GREY, 'PNG'),
  'rgba png': encode(PICTURE.convert('RGBA'), 'PNG'),
  'grey alpha png': encode(PICTURE.convert('LA'), 'PNG'),
  'palette png': encode(PICTURE.convert('P'), 'PNG'),
  'gif': encode(PICTURE, 'GIF'),
  'moving gif': encode(PICTURE, 'GIF', save_all=True, append_images=[PICTURE.rotate(90)]),
  'bmp': encode(PICTURE, 'BMP'),
  'grey bmp': encode(GREY, 'BMP'),
  'rgba bmp': encode(PICTURE.convert('RGBA'), 'BMP'),
  'webp': encode(PICTURE, 'WEBP', lossless=True),
}


@pytest.fixture(scope='module')
def decode():
  from ecanet_jax.data.tfdata import decode as module

  return module


@pytest.mark.parametrize('kind', MATRIX)
def test_every_format_gives_the_pixels_of_pillow(decode, kind):
  expected = np.asarray(Image.open(io.BytesIO(MATRIX[kind])).convert('RGB')).astype(int)
  image = decode.decode(tf.constant(MATRIX[kind]))
  assert image.dtype == tf.uint8 and image.shape == (48, 64, 3)
  np.testing.assert_array_equal(image, expected)
  part = decode.decode_crop(tf.constant(MATRIX[kind]), lambda h, w: tf.constant([3, 5, 20, 30]))
  np.testing.assert_array_equal(part, image[3:23, 5:35])


@pytest.mark.parametrize('interpolation', ['bicubic', 'bilinear'])
@pytest.mark.parametrize('size', [24, 100])
def test_resizing_is_that_of_pillow(decode, interpolation, size):
  method = getattr(Image.Resampling, interpolation.upper())
  expected = np.asarray(PICTURE.resize((size, size), method)).astype(int)
  image = decode.resize(tf.constant(np.asarray(PICTURE)), size, interpolation)
  assert image.dtype == tf.uint8
  assert np.abs(image.numpy() - expected).max() <= 1


def test_evaluation_takes_the_centre(decode):
  config = schema.get_config()
  config.data.crop_fraction = 0.5
  image = decode.eval_transform(24, 0.5, 'bicubic')(tf.constant(MATRIX['png']))
  expected = PICTURE.crop((20, 12, 44, 36))
  np.testing.assert_array_equal(image, np.asarray(expected))
  config.data.crop, config.data.flip = 'center', False
  train = decode.train_transform(config.data, 24)(
    tf.constant(MATRIX['png']), tf.constant([1, 2], tf.int64)
  )
  np.testing.assert_array_equal(train, image)


def test_flip_is_one_in_two_and_stateless(decode):
  config = schema.get_config()
  config.data.crop, config.data.crop_fraction = 'center', 1.0
  transform = tf.function(decode.train_transform(config.data, 48))
  plain = np.asarray(PICTURE.crop((8, 0, 56, 48)))
  flipped = 0
  for index in range(60):
    seed = tf.constant([7, index], tf.int64)
    image = transform(tf.constant(MATRIX['png']), seed).numpy()
    mirrored = not np.array_equal(image, plain)
    np.testing.assert_array_equal(image, plain[:, ::-1] if mirrored else plain)
    flipped += mirrored
  assert 15 < flipped < 45


@pytest.mark.parametrize(('height', 'width'), [(400, 500), (300, 300)])
def test_statistics_of_inception_crops(decode, height, width):
  from ecanet_jax.data.augmentation.host import crop

  @tf.function
  def boxes(keys):
    def one(index):
      values, _ = crop.draw(tf.stack([tf.constant(3, tf.int64), index]))
      return crop.inception_crop(height, width, values, (0.08, 1.0), (3 / 4, 4 / 3))

    return tf.map_fn(one, keys, fn_output_signature=tf.int32)

  top, left, h, w = boxes(tf.range(1500, dtype=tf.int64)).numpy().T
  assert top.min() >= 0 and left.min() >= 0 and h.min() >= 1 and w.min() >= 1
  assert (top + h).max() <= height and (left + w).max() <= width
  area, aspect = h * w / (height * width), w / h
  assert 0.075 < area.min() < 0.12 and area.max() > 0.9
  assert 0.45 < area.mean() < 0.56  # torchvision's RandomResizedCrop: 0.50, 0.49
  assert 0.74 < aspect.min() < 0.8 and 1.28 < aspect.max() < 1.345
  centre = (left + w / 2).mean() / width
  assert abs(centre - 0.5) < 0.02


def test_extreme_shapes_fall_back_to_the_centre(decode):
  from ecanet_jax.data.augmentation.host import crop

  values = tf.zeros([10, 4])
  box = crop.inception_crop(10, 1000, values, (1.0, 1.0), (3 / 4, 4 / 3))
  assert box.numpy().tolist() == [0, 493, 10, 13]
  box = crop.inception_crop(1000, 12, values, (1.0, 1.0), (3 / 4, 4 / 3))
  assert box.numpy().tolist() == [492, 0, 16, 12]


@pytest.mark.parametrize(
  'content', [b'', b'GARBAGE' * 20, MATRIX['jpeg'][:300], MATRIX['png'][:500]]
)
def test_broken_images_are_named(folder, tmp_path, content):
  shutil.copytree(folder, tmp_path / 'set')
  broken = tmp_path / 'set' / 'val' / 'dog' / 'broken.jpg'
  broken.write_bytes(content)
  config = schema.get_config()
  config.batch_size, config.data.source, config.data.data_dir = 4, 'folder', str(tmp_path / 'set')
  config.data.eval_split, config.data.image_size, config.data.crop_fraction = 'val', 16, 1.0
  with pytest.raises(UserError) as error:
    list(data.open(config).eval()[0])
  assert str(error.value).startswith(f'{broken}: the image cannot be decoded: ')
  assert '\n' not in str(error.value)
  config.data.train_split, config.data.area = 'val', (1.0, 1.0)
  with pytest.raises(UserError, match=r'broken\.jpg: the image cannot be decoded'):
    list(itertools.islice(data.open(config).train(5), 2))
