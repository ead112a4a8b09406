"""The chain of one image: stateless, off by default, jitter and rotation as torchvision's."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import torch
import torchvision.transforms.functional as functional
from PIL import Image
from torchvision.transforms import ColorJitter

from ecanet_jax import data
from ecanet_jax.config import schema
from ecanet_jax.data import shuffling
from ecanet_jax.data.augmentation.host import chain, color, crop
from ecanet_jax.data.augmentation.host.policies import POLICIES
from tests.support.augmentation import pillow, same
from tests.support.pictures import pictures


def everything(config):
  augment = config.augment
  augment.policy, augment.magnitude_std = 'randaugment', 0.5
  augment.color_jitter, augment.lighting, augment.rotation = (0.4, 0.3, 0.2, 0.1), 0.1, 10.0
  return config


def test_off_is_the_default():
  assert chain.make_chain(schema.get_config(), 224) is None


def test_crop_and_flip_do_not_depend_on_the_chain():
  seed = tf.constant([shuffling.epoch_key(0, 0), 5], tf.int64)
  values, flip = crop.draw(seed)
  # Frozen: other numbers would change every training.
  assert [round(float(value), 6) for value in (flip, values[0, 0], values[9, 3])] == FROZEN
  more = chain.draw(seed, 30)
  assert np.corrcoef(more[:30], np.append(values.numpy().ravel(), flip)[:30])[0, 1] < 0.5
  np.testing.assert_array_equal(more[:12], chain.draw(seed, 12))


FROZEN = [0.605994, 0.577713, 0.642444]


@pytest.mark.parametrize(
  'policy', ['none', *(pytest.param(policy, marks=pytest.mark.slow) for policy in POLICIES)]
)
def test_a_picture_depends_on_key_and_index_alone(folder, policy):
  """Not on the batch's size, the hosts, or the step that the stream starts from."""
  config = everything(schema.get_config())
  config.augment.policy = policy
  config.augment.magnitude_std = 0.5 if policy == 'randaugment' else 0.0
  if policy == 'none':  # quicker
    config.augment.color_jitter = (0.4, 0.0, 0.2, 0.0)
  config.data.source, config.data.data_dir, config.data.eval_split = 'folder', str(folder), 'val'
  config.data.image_size, config.data.decode_threads = 24, 2

  def images(batch_size, start=0, hosts=1):
    config.batch_size = batch_size
    streams = [
      data.open(config).train(start, (22 // batch_size) - start, host=host, num_hosts=hosts)
      for host in range(hosts)
    ]
    batches = [np.concatenate([part['image'] for part in parts]) for parts in zip(*streams)]
    return np.concatenate(batches)

  whole = images(2)  # two epochs
  np.testing.assert_array_equal(images(11), whole)
  np.testing.assert_array_equal(images(2, start=4, hosts=2), whole[8:])
  config.augment = schema.get_config().augment
  plain = images(2)
  assert (plain != whole).any((1, 2, 3)).mean() > 0.9


@pytest.mark.parametrize('grey', [False, True])
def test_jitter_is_torchvisions(grey):
  """The same factors in the same order."""
  strengths = (0.4, 0.9, 1.5, 0.3)
  functions = (
    functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation,
    functional.adjust_hue,
  )
  limits = ColorJitter(*strengths)
  limits = (limits.brightness, limits.contrast, limits.saturation, limits.hue)
  random = np.random.RandomState(0)
  for image in pictures(3, grey):
    values, places = random.uniform(size=(2, 4)).astype(np.float32)
    expected = pillow(image, grey)
    for number in np.argsort(places):
      low, high = limits[number]
      expected = functions[number](expected, low + (high - low) * float(values[number]))
    ours = chain.jitter(tf.constant(image), strengths, tf.constant(values), tf.constant(places))
    same(ours, expected, 0, image.shape)


def test_jitter_draws_as_torchvision(monkeypatch):
  """Factors are uniform between the same limits, and every order is as frequent."""
  strengths = (0.4, 0.0, 1.5, 0.3)
  seen, orders = [], []
  names = ('brightness', 'contrast', 'saturation', 'hue')

  def record(number):
    return lambda image, amount: (seen.append((number, float(amount))), image)[1]

  monkeypatch.setattr(chain, 'JITTER', tuple(record(number) for number in range(4)))
  image = tf.zeros([2, 2, 3], tf.uint8)
  random = np.random.RandomState(0)
  torch.manual_seed(0)
  theirs = ColorJitter(*strengths)
  factors = []
  for _ in range(400):
    seen.clear()
    values, places = tf.constant(random.uniform(size=(2, 4)).astype(np.float32))
    chain.jitter(image, strengths, values, places)
    assert len(seen) == 3
    orders.append(tuple(number for number, _ in seen))
    factors.append(dict(seen))
  reference = [theirs.get_params(*(getattr(theirs, name) for name in names)) for _ in range(400)]
  for number in (0, 2, 3):
    ours = [factor[number] for factor in factors]
    expected = [float(params[1 + number]) for params in reference]
    spread = max(expected) - min(expected)
    assert abs(np.mean(ours) - np.mean(expected)) < 0.06 * spread
    assert abs(np.std(ours) - np.std(expected)) < 0.06 * spread
    assert abs(min(ours) - min(expected)) < 0.03 * spread
    assert abs(max(ours) - max(expected)) < 0.03 * spread
  counts = [orders.count(each) for each in itertools.permutations((0, 2, 3))]
  assert min(counts) > 400 / 6 * 0.7 and sum(counts) == 400


def test_rotation_and_lighting_of_the_chain():
  config = schema.get_config()
  config.augment.rotation = 10.0
  image = pictures(1, False)[0][:48, :48]
  image = np.asarray(Image.fromarray(image).resize((48, 48)))
  seed = tf.constant([3, 4], tf.int64)
  values = chain.draw(seed, 12).numpy()
  turned = chain.make_chain(config, 48)(tf.constant(image), seed)
  expected = Image.fromarray(image).rotate(
    (2 * float(values[0]) - 1) * 10, Image.Resampling.BILINEAR
  )
  same(turned, expected, 1, values[0])
  config.augment.rotation, config.augment.lighting = 0.0, 0.1
  lit = chain.make_chain(config, 48)(tf.constant(image), seed)
  normal = 0.1 * tf.math.ndtri(values[9:12])
  np.testing.assert_array_equal(lit, color.lighting(tf.constant(image), normal))


def test_extreme_numbers_give_a_picture():
  """0 and the largest float below 1, at which a logarithm or an index would go wrong."""
  config = everything(schema.get_config())
  config.augment.magnitude_std = float('inf')
  image = tf.constant(pictures(1, False)[0])
  for policy in ('autoaugment', 'autoaugment_cifar', 'randaugment_tf', 'trivialaugment'):
    config.augment.policy = policy
    function = chain.make_policy(config)
    for value in (0.0, np.nextafter(np.float32(1), np.float32(0))):
      result = function(image, tf.fill([2, chain.LAYER], tf.constant(value, tf.float32)))
      assert result.shape == image.shape and result.dtype == tf.uint8
  assert np.isfinite(chain._normal(tf.constant([0.0, 0.9999999]))).all()
