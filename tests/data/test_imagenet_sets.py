"""ImageNet's other evaluation sets: classes, several labels, and five crops."""

import importlib.resources
import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from ecanet_jax import data
from ecanet_jax.cli import prepare
from ecanet_jax.config import schema
from ecanet_jax.data.imagenet_sets import IMAGENET_CLASSES, IMAGENET_SETS, imagenet_set
from ecanet_jax.data.tfdata import decode
from ecanet_jax.evaluation.evaluate_weights import choose_split, set_name
from ecanet_jax.runtime.errors import UserError
from tests.support.imagenet_tars import encode, smooth_image


@pytest.mark.parametrize(('letter', 'first'), [('a', 'n01498041'), ('r', 'n01443537')])
def test_classes_of_a_and_r_are_timms(letter, first):
  info = importlib.resources.files('timm.data._info')
  classes = imagenet_set(f'imagenet_{letter}').classes
  assert len(classes) == len(set(classes)) == 200 and list(classes) == sorted(classes)
  indices = info.joinpath(f'imagenet_{letter}_indices.txt').read_text().split()
  assert list(classes) == [int(index) for index in indices]
  # By the names that TFDS gives them, too.
  names = tfds.builder(f'imagenet_{letter}').info.features['label'].names
  synsets = info.joinpath(f'imagenet_{letter}_synsets.txt').read_text().split()
  assert {names[index] for index in classes} == set(synsets)
  assert names[classes[0]] == first


def test_tfds_has_all_sets_with_imagenets_classes():
  known = tfds.list_builders(with_community_datasets=False)
  names = tfds.builder('imagenet_v2').info.features['label'].names
  for name in IMAGENET_SETS:
    assert name in known
    features = dict(tfds.builder(name).info.features.items())
    label = features.get('label') or features['real_label'].feature
    assert label.names == names and label.num_classes == IMAGENET_CLASSES


def test_choose_split():
  config = schema.get_config()
  config.data.name = 'imagenet_v2/topimages'
  assert choose_split(config, ()) == ()
  assert config.data.eval_split == config.data.train_split == 'test'
  assert set_name(config) == 'imagenet_v2/topimages test'
  config.data.name, config.data.eval_split = 'imagenet_a', 'test[:10]'
  assert len(choose_split(config, ['data.eval_split'])) == 200
  assert config.data.eval_split == 'test[:10]'
  config.model.num_classes, config.model.name = 37, 'resnet18'
  with pytest.raises(UserError) as error:
    choose_split(config, ())
  assert str(error.value) == (
    "imagenet_a is for networks of ImageNet's 1,000 classes; resnet18 has 37."
  )
  config.data.name = 'oxford_iiit_pet'
  assert choose_split(config, ()) == ()


class MadeReal(tfds.core.GeneratorBasedBuilder):
  """The features of imagenet2012_real with 6 classes and made images."""

  VERSION = tfds.core.Version('1.0.0')
  LABELS = ([2], [], [0, 5], [1, 2, 3], [], [4], [5])

  def _info(self):
    label = tfds.features.ClassLabel(num_classes=6)
    return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({
      'image': tfds.features.Image(encoding_format='jpeg'), 'original_label': label,
      'real_label': tfds.features.Sequence(tfds.features.ClassLabel(num_classes=6)),
      'file_name': tfds.features.Text(),
    }))

  def _split_generators(self, dl_manager):
    del dl_manager
    return {'validation': self._generate_examples()}

  def _generate_examples(self):
    random = np.random.RandomState(0)
    for number, labels in enumerate(self.LABELS):
      image = smooth_image(random, 40, 50)
      yield number, {
        'image': image, 'original_label': 0, 'real_label': labels, 'file_name': f'{number}.JPEG'
      }


@pytest.mark.parametrize('file_format', ['tfrecord', 'array_record'])
def test_several_labels_or_none(tmp_path, file_format, capsys):
  builder = MadeReal(data_dir=tmp_path, file_format=file_format)
  builder.download_and_prepare()
  prepare.verify(builder)
  assert '7 images, 6 of 6 classes, 7 images decoded, ok' in capsys.readouterr().out
  config = schema.get_config()
  config.data.name, config.data.data_dir = 'made_real', str(tmp_path)
  config.data.train_split, config.data.image_size, config.batch_size = 'validation', 16, 4
  dataset = data.open(config)
  assert dataset.info.multi_label
  labels = []
  for host in range(3):
    batches, _ = dataset.eval(host=host, num_hosts=3, batch_size=12)
    for batch in batches:
      assert batch['label'].shape == (4, 6) and batch['label'].dtype == bool
      assert not batch['label'][~batch['mask']].any()
      labels += batch['label'][batch['mask']].tolist()
  found = sorted(tuple(np.flatnonzero(row).tolist()) for row in labels)
  assert found == sorted(map(tuple, MadeReal.LABELS))
  for train in (lambda: dataset.train(0, 1), dataset.resident, dataset.label_counts):
    with pytest.raises(UserError, match='made_real has several labels per image; it is for eval'):
      train()


@pytest.mark.parametrize('shape', [(40, 60), (61, 41), (32, 32)])
@pytest.mark.parametrize('fraction', [0.875, 1.0])
def test_crops_are_torchvisions(shape, fraction):
  torchvision = pytest.importorskip('torchvision')
  image = smooth_image(np.random.RandomState(0), *shape)
  resized = torchvision.transforms.Resize(math.floor(28 / fraction))(image)
  expected = torchvision.transforms.FiveCrop(28)(resized)
  crops = decode.eval_transform(28, fraction, 'bilinear', 5)(tf.constant(encode(image, 'PNG')))
  for ours, theirs in zip(crops.numpy().astype(int), expected, strict=True):
    assert np.abs(ours - np.asarray(theirs)).max() <= 1


def test_five_crops_are_read_and_the_last_is_the_centre(configure):
  config = configure('folder')
  config.data.crop_fraction = 0.5
  five, steps = data.open(config).eval(crops=5, batch_size=4)
  one, _ = data.open(config).eval(batch_size=4)
  five = list(five)
  assert len(five) == steps == 2
  for many, centre in zip(five, one, strict=True):
    assert many['image'].shape == (4, 5, 16, 16, 3)
    np.testing.assert_array_equal(many['image'][:, 4], centre['image'])
    assert not many['image'][~many['mask']].any()
  # Of a square image the top left crop at 1/2 is its first quarter.
  image = smooth_image(np.random.RandomState(0), 40, 40)
  crops = decode.eval_transform(20, 0.5, 'bilinear', 5)(tf.constant(encode(image, 'PNG')))
  for crop, (y, x) in zip(crops, ((0, 0), (0, 20), (20, 0), (20, 20), (10, 10)), strict=True):
    np.testing.assert_array_equal(crop, np.asarray(image)[y : y + 20, x : x + 20])


def test_sets_in_memory_have_no_crops(configure):
  with pytest.raises(UserError, match=r"data.source='memory' has whole images of image_size only"):
    next(data.open(configure('digits')).eval(crops=5)[0])
