"""Networks without a classifier and for images that are not RGB, with and without weights."""

import jax
import numpy as np
import pytest

import ecanet_jax
from ecanet_jax import create_model, list_models
from ecanet_jax.models import network
from ecanet_jax.nn.parameter_shapes import parameter_shapes
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import to_torch, write_folder, write_state_dict
from ecanet_jax.weights.stem import adapt_stem
from tests.support import twins
from tests.support.random_variables import random_variables
from tests.support.weights_folder import PREPROCESSING

RESNET = create_model('resnet18', num_classes=10)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A timm folder of a ResNet-18 with random weights."""
  path = tmp_path_factory.mktemp('folder')
  state = to_torch(RESNET, random_variables(RESNET))
  write_folder(path / 'resnet18', network('resnet18'), RESNET, state, PREPROCESSING)
  return path / 'resnet18'


def images(channels):
  return np.random.default_rng(1).normal(size=(2, 32, 32, channels)).astype(np.float32)


def test_features_of_a_grey_image_equal_timms(folder):
  arguments = {'in_chans': 1, 'num_classes': 0}
  twin = twins.timm.create_model(f'local-dir:{folder}', pretrained=True, **arguments).eval()
  model, variables = ecanet_jax.create_model('resnet18', pretrained=folder, **arguments)
  assert model == create_model('resnet18', **arguments) and 'classifier' not in variables['params']
  ours = np.asarray(twins.compiled(model)(variables, images(1)))
  assert ours.shape == (2, 512) and ours.dtype == np.float32
  assert twins.relative(ours, twins.twin_logits(twin, images(1))) < 1e-5


def test_the_kernel_for_four_channels_is_timms(folder):
  twin = twins.timm.create_model(f'local-dir:{folder}', pretrained=True, in_chans=4)
  model, variables = ecanet_jax.load_pretrained(folder, in_chans=4)
  for key, array in to_torch(model, variables).items():
    np.testing.assert_allclose(array, twin.state_dict()[key].numpy(), rtol=1e-6, err_msg=key)


def test_a_grey_image_gives_what_its_rgb_form_gives(folder):
  variables = {
    channels: ecanet_jax.load_pretrained(folder, in_chans=channels)[1] for channels in (1, 3)
  }
  kernels = {channels: tree['params']['stem']['kernel'] for channels, tree in variables.items()}
  assert kernels[1].shape == (7, 7, 1, 64)
  np.testing.assert_allclose(kernels[1], kernels[3].sum(2, keepdims=True), rtol=1e-6)
  same = jax.tree.map(lambda a, b: a is b or np.array_equal(a, b), *variables.values())
  assert jax.tree.leaves(same).count(False) == 1


def test_adapted_weights_go_to_timm_and_back(folder, tmp_path):
  model, variables = ecanet_jax.load_pretrained(folder, in_chans=1)
  state = to_torch(model, variables)
  write_folder(tmp_path / 'grey', network('resnet18'), model, state, PREPROCESSING)
  back, again = ecanet_jax.load_pretrained(tmp_path / 'grey', name='')
  assert back == model and jax.tree.all(jax.tree.map(np.array_equal, again, variables))
  twin = twins.timm.create_model(f'local-dir:{tmp_path / "grey"}', pretrained=True)
  assert np.array_equal(twin.state_dict()['conv1.weight'].numpy(), state['conv1.weight'])
  with pytest.raises(UserError, match='for 1 channels, and only those for RGB can be changed'):
    ecanet_jax.load_pretrained(tmp_path / 'grey', in_chans=4)


def test_a_file_with_the_name_of_its_network(folder, tmp_path):
  path = tmp_path / 'weights.safetensors'
  _, variables = ecanet_jax.load_pretrained(folder)
  write_state_dict(str(path), to_torch(RESNET, variables, 'torchvision'))
  model, same = ecanet_jax.create_model('resnet18', pretrained=path, dialect='torchvision')
  assert model == RESNET and jax.tree.all(jax.tree.map(np.array_equal, same, variables))


@pytest.mark.parametrize('name', list_models('tiny_*'))
def test_every_family_has_one_kernel_that_sees_the_images(name):
  plain = parameter_shapes(create_model(name))
  other = parameter_shapes(create_model(name, in_chans=4, num_classes=0))
  assert set(plain) - set(other) == {'params/classifier/kernel', 'params/classifier/bias'}
  (path,) = (path for path in other if other[path] != plain[path])
  height, width, _, features = plain[path]
  assert other[path] == (height, width, 4, features)


def test_attention_on_the_image_cannot_be_adapted():
  attention = {'kind': 'se', 'position': 'pre', 'reduction': 1.0}
  section = {'name': 'tiny_vgg', 'attention': attention}
  variables = random_variables(create_model(**section))
  with pytest.raises(UserError, match=r'params/block_1/attention/.* is no kernel of a c'):
    adapt_stem(section, variables, 4)


@pytest.mark.parametrize(('fields', 'text'), [
  ({'in_chans': 0}, 'in_chans=0 must be at least 1'),
  ({'num_classes': -1}, 'num_classes=-1 must be at least 0'),
])
def test_impossible_numbers(fields, text):
  with pytest.raises(UserError, match=text):
    create_model('resnet18', **fields)


def test_images_of_other_channels_are_refused():
  model = create_model('tiny_efficientnet', in_chans=1)
  with pytest.raises(UserError, match=r'not \[B, H, W, 1\]: the batch, height and width in pixels, '
                                      'and 1 channel'):
    model.init(jax.random.key(0), images(3), train=False)
