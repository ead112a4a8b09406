"""The policies' tables against timm's and torchvision's own, and what is chosen from them."""

import collections
import types

import numpy as np
import pytest
import tensorflow as tf
import timm.data.auto_augment as timm_augment
import torchvision.transforms.autoaugment as torchvision_augment

from ecanet_jax.config import schema
from ecanet_jax.data.augmentation.host import chain
from ecanet_jax.data.augmentation.host.policies import CIFAR10, IMAGENET_V0, POLICIES
from tests.support.augmentation import (
  INCREASING,
  TIMM,
  TORCHVISION,
  pillow,
  same,
  timm_name,
)
from tests.support.pictures import pictures


def test_imagenet_v0_is_timms():
  theirs = timm_augment.auto_augment_policy_v0({})
  ours = [[(TIMM[name], *rest) for name, *rest in sub] for sub in IMAGENET_V0]
  assert ours == [[(op.name, op.prob, op.magnitude) for op in sub] for sub in theirs]


def test_cifar_is_torchvisions():
  policy = torchvision_augment.AutoAugmentPolicy.CIFAR10
  theirs = torchvision_augment.AutoAugment(policy)._get_policies(policy)
  ours = [[(TORCHVISION[name], *rest) for name, *rest in sub] for sub in CIFAR10]
  assert ours == [[(name, share, level or 0) for name, share, level in sub] for sub in theirs]


def test_randaugment_has_the_operations_of_timm():
  operations = POLICIES['randaugment'].operations
  for convention, theirs in (
    ('timm', timm_augment._RAND_TRANSFORMS),
    ('timm_increasing', timm_augment._RAND_INCREASING_TRANSFORMS),
  ):
    assert [timm_name(name, convention) for name in operations] == theirs
  assert set(INCREASING) < set(operations)
  # tensorflow/tpu autoaugment.py: available_ops has the same and cutout.
  assert {*operations, 'cutout'} == set(POLICIES['randaugment_tf'].operations)


def test_trivialaugment_has_the_operations_of_torchvision():
  theirs = torchvision_augment.TrivialAugmentWide()._augmentation_space(31)
  assert [TORCHVISION[name] for name in POLICIES['trivialaugment'].operations] == list(theirs)
  assert len(theirs['ShearX'][0]) == POLICIES['trivialaugment'].bins


@pytest.fixture
def operated(monkeypatch):
  """Replaces the operations by a record of what was asked for."""
  record = []

  def operate(name, convention, image, level, negative, how):
    record.append((name, convention, float(level), bool(negative), how))
    return image

  monkeypatch.setattr(chain, 'operate', operate)
  return record


def settings(**augment):
  config = schema.get_config()
  config.augment.update(augment)
  return config


IMAGE = np.zeros((4, 4, 3), np.uint8)


def applied(config, values, record):
  record.clear()
  chain.make_policy(config)(tf.constant(IMAGE), tf.constant(values, tf.float32))
  return [step for step in record if step[0] != 'identity']


def test_autoaugment_takes_one_sub_policy(operated):
  config = settings(policy='autoaugment')
  for number, sub in enumerate(IMAGENET_V0):
    first = (number + 0.5) / len(IMAGENET_V0)
    values = np.array([[first, 0, 0, 0, 0.1, 0.2], [0.9, 0, 0.9, 0, 0, 0]])
    found = applied(config, values, operated)
    wanted = [(name, share, level / 10) for name, share, level in sub]
    assert [(name, level) for name, _, level, _, _ in found] == [
      (name, level) for name, share, level in wanted if share > 0
    ]
    assert {step[1] for step in found} == {'tf'}
    assert found[0][4].interpolation == 'nearest' and found[0][4].color == (128, 128, 128)
    values[:, 1] = [share for _, share, _ in wanted]  # not below the probability
    assert not applied(config, values, operated)


def test_randaugment_draws_levels_as_timm(operated):
  config = settings(policy='randaugment', layers=3, magnitude=7.0)
  names = POLICIES['randaugment'].operations
  values = np.array([
    [0.5 / 15, 0.4, 0.1, 0.5, 0, 0], [4.5 / 15, 0.6, 0, 0.5, 0, 0], [14.5 / 15, 0.1, 0.9, 0.5, 0, 0]
  ])
  found = applied(config, values, operated)
  assert [(name, level, sign) for name, _, level, sign, _ in found] == [
    (names[0], 0.7, True), (names[14], 0.7, False)
  ]
  assert {step[1] for step in found} == {'timm_increasing'}
  assert found[0][4].interpolation == 'bilinear' and found[0][4].color == (124, 116, 104)
  config.augment.increasing, config.augment.magnitude_std = False, 0.5
  values[0, 3] = 0.8413447  # one standard deviation
  found = applied(config, values, operated)
  assert found[0][1] == 'timm' and found[0][2] == pytest.approx(0.75, abs=1e-5)
  config.augment.magnitude_std = 100.0
  assert applied(config, values, operated)[0][2] == 1.0  # clipped at 10
  config.augment.magnitude_std = float('inf')
  assert applied(config, values, operated)[0][2] == pytest.approx(0.8413447 * 0.7)
  config.augment.fill, config.augment.interpolation = (1, 2, 3), 'nearest'
  how = applied(config, values, operated)[0][4]
  assert how.interpolation == 'nearest' and how.color == (1, 2, 3)


def test_tensorflows_randaugment_always_applies(operated):
  config = settings(policy='randaugment_tf', layers=2, magnitude=28.0)
  values = np.array([[0.99, 0.99, 0, 0.5, 0, 0], [14.5 / 16, 0.99, 0, 0.5, 0.3, 0.4]])
  found = applied(config, values, operated)
  assert [step[:3] for step in found] == [
    ('solarize_add', 'tf_rand', 2.8), ('cutout', 'tf_rand', 2.8)
  ]
  np.testing.assert_allclose(found[1][4].place, [0.3, 0.4])


def test_trivialaugment_has_one_layer_and_31_levels(operated):
  config = settings(policy='trivialaugment')
  seen = collections.Counter()
  for value in np.linspace(0, 0.9999, 310):
    (step,) = applied(config, np.array([[1.5 / 14, 0.99, 0, value, 0, 0]]), operated)
    assert step[:2] == ('shear_x', 'torchvision_wide')
    seen[round(step[2] * 30, 9)] += 1
  assert sorted(seen) == list(range(31)) and set(seen.values()) <= {9, 10, 11}


@pytest.mark.parametrize('policy', ['randaugment', 'autoaugment_cifar', 'trivialaugment'])
def test_whole_policy_is_that_of_the_reference(monkeypatch, policy):
  """What we choose, done by timm and torchvision."""
  config = settings(policy=policy, interpolation='bilinear')
  image = pictures(3, False)[2]
  function = chain.make_policy(config)
  layers = 1 if policy == 'trivialaugment' else 2
  random = np.random.RandomState(3)
  record = []

  def note(*step):
    record.append(step)
    return step[2]

  for _ in range(6):
    values = random.uniform(size=(layers, chain.LAYER)).astype(np.float32)
    record.clear()
    with monkeypatch.context() as patch:
      patch.setattr(chain, 'operate', note)
      function(tf.constant(image), tf.constant(values))
    expected = pillow(image, False)
    # Eagerly, tf.switch_case calls what was chosen and nothing else.
    assert len(record) == layers
    for name, convention, _, level, negative, how in record:
      expected = reference(name, convention, expected, float(level), bool(negative), how)
    ours = function(tf.constant(image), tf.constant(values))
    # A second layer may make more of a difference of one level.
    difference = np.abs(ours.numpy().astype(int) - np.asarray(expected).astype(int))
    assert np.mean(difference <= 1) > 0.99, record


def reference(name, convention, image, level, negative, how):
  if name == 'identity':
    return image
  if convention.startswith('timm'):
    operation = timm_augment.NAME_TO_OP[timm_name(name, convention)]
    to_amount = timm_augment.LEVEL_TO_ARG[timm_name(name, convention)]
    sign = types.SimpleNamespace(random=lambda: 1.0 if negative else 0.0)
    before, timm_augment.random = timm_augment.random, sign
    try:
      amount = to_amount(10 * level, {}) if to_amount else ()
    finally:
      timm_augment.random = before
    bilinear = 2
    return operation(image, *amount, fillcolor=how.color, resample=bilinear)
  theirs = TORCHVISION[name]
  if convention == 'torchvision':
    space = torchvision_augment.AutoAugment()._augmentation_space(10, image.size[::-1])
  else:
    space = torchvision_augment.TrivialAugmentWide()._augmentation_space(31)
  magnitudes, signed = space[theirs]
  magnitude = magnitudes[round(level * (len(magnitudes) - 1))].item() if magnitudes.ndim else 0.0
  sign = -1 if signed and negative != theirs.startswith('Translate') else 1
  mode = torchvision_augment.InterpolationMode.BILINEAR
  return torchvision_augment._apply_op(image, theirs, sign * magnitude, mode, list(how.color))


def test_same_is_strict():
  with pytest.raises(AssertionError):
    same(IMAGE, IMAGE + 1, 0, 'one level')
