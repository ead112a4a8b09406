"""Class names of published data sets, compared with timm's, torchvision's and TFDS's."""

import pytest
import tensorflow_datasets as tfds
from timm.data import ImageNetInfo

from ecanet_jax.data import label_names
from ecanet_jax.data.label_names import imagenet_wnids, published, published_for
from ecanet_jax.runtime.errors import UserError


@pytest.mark.parametrize(('name', 'timms', 'classes'), [
  ('imagenet_1k', 'imagenet-1k', 1000), ('imagenet_12k', 'imagenet-12k', 11821),
  ('imagenet_21k', 'imagenet-22k', 21841), ('imagenet_21k_google', 'imagenet-21k-goog', 21843),
  ('imagenet_21k_p', 'imagenet-21k-miil', 11221),
])
def test_imagenets_lists_are_timms(name, timms, classes):
  theirs = ImageNetInfo(timms)
  assert imagenet_wnids(name) == tuple(theirs.label_names()) and len(published(name)) == classes
  assert published_for(classes) == published(name)
  if name != 'imagenet_1k':
    assert published(name) == tuple(theirs.label_descriptions())


def test_imagenets_names_are_torchvisions():
  from torchvision.models._meta import _IMAGENET_CATEGORIES

  assert published('imagenet_1k') == tuple(_IMAGENET_CATEGORIES)
  assert len(set(_IMAGENET_CATEGORIES)) == 1000
  assert imagenet_wnids() == tuple(tfds.builder('imagenet_v2').info.features['label'].names)


def test_cocos_names_are_torchvisions():
  from torchvision.models._meta import _COCO_CATEGORIES

  background, *others = _COCO_CATEGORIES
  assert background == '__background__' and label_names.coco_for(90) == tuple(others)
  assert label_names.coco_for(91) == ('N/A', *others)
  named = tuple(name for name in others if name != 'N/A')
  assert label_names.coco_for(80) == published('coco') == named and len(named) == 80
  assert label_names.coco_for(20) is None


@pytest.mark.parametrize('name', ['fashion_mnist', 'oxford_flowers102', 'oxford_iiit_pet'])
def test_names_are_those_of_tfds(name):
  assert published(name) == tuple(tfds.builder(name).info.features['label'].names)


def test_cifar():
  assert published('cifar10')[::9] == ('airplane', 'truck') and len(published('cifar10')) == 10
  names = published('cifar100')
  assert len(names) == 100 and list(names) == sorted(set(names)) and names[47] == 'maple_tree'


def test_every_set_has_one_name_for_each_class():
  for name in label_names.SETS:
    assert all(text == text.strip() != '' for text in published(name))


def test_wnids_and_names():
  wnids, names = imagenet_wnids(), published('imagenet_1k')
  assert label_names.names_as_wnids(names) == wnids == label_names.names_as_wnids(wnids)
  assert label_names.wnids_as_names(wnids) == names == label_names.wnids_as_names(names)
  assert label_names.is_imagenet(wnids) and label_names.is_imagenet(list(names))
  assert not label_names.is_imagenet(names[::-1])
  assert label_names.wnids_as_names(['n00004475', 'n99999999']) == ('organism, being', 'n99999999')
  for other in (('cat', 'dog'), ()):
    assert label_names.names_as_wnids(other) == label_names.wnids_as_names(other) == other
    assert not label_names.is_imagenet(other)
  assert published_for(37) is None


def test_mistakes():
  with pytest.raises(UserError, match=r"'imagenet1k'. Did you mean 'imagenet_1k'\? Known: cifar10"):
    published('imagenet1k')
  with pytest.raises(UserError, match="unknown list of ImageNet 'cifar10'"):
    imagenet_wnids('cifar10')
