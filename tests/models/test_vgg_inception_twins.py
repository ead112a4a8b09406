"""VGG-16, BN-Inception and Inception-ResNet-v2 give timm's logits with the same weights."""

import numpy as np
import pytest

from ecanet_jax import create_model
from ecanet_jax.models.inception_resnet_v2 import InceptionResNetV2
from ecanet_jax.models.vgg import VGG
from ecanet_jax.weights import from_torch, to_torch
from tests.support.bn_inception import BN_INCEPTION
from tests.support.random_variables import random_variables


@pytest.fixture
def twins():
  """The functions that compare with PyTorch, where it and timm are there."""
  pytest.importorskip('torch')
  pytest.importorskip('timm')
  from tests.support import twins

  return twins


def images_of(height, width):
  return np.random.default_rng(1).normal(size=(2, height, width, 3)).astype(np.float32)


def check_both_directions(twins, model, twin, images):
  """As `twins.check_logits`, for networks that are not registered."""
  import torch

  ours = twins.compiled(model)
  twins.randomise_statistics(twin)
  state = {key: tensor.numpy().copy() for key, tensor in twin.state_dict().items()}
  theirs = twins.twin_logits(twin, images)
  difference = twins.relative(np.asarray(ours(from_torch(model, state), images)), theirs)
  print(f'{difference:.1e} with the weights of timm')
  assert difference < 1e-5

  variables = random_variables(model)
  twins.check_arrays(model, twin)
  state = to_torch(model, variables)
  twin.load_state_dict({key: torch.from_numpy(array) for key, array in state.items()})
  logits = np.asarray(ours(variables, images))
  assert np.isfinite(logits).all() and logits.std() > 0.1
  difference = twins.relative(logits, twins.twin_logits(twin, images))
  print(f'{difference:.1e} with our weights')
  assert difference < 1e-5


@pytest.mark.parametrize(
  'name', ['vgg16', 'vgg16_bn', pytest.param('inception_resnet_v2', marks=pytest.mark.slow)]
)
def test_arrays_are_timms(twins, name):
  import torch

  with torch.device('meta'):
    twin = twins.make_twin(name)
  twins.check_arrays(create_model(name), twin)


# Maps of 4 x 4 and of 5 x 9 pixels: timm enlarges what is below 7 x 7, as torchvision does.
@pytest.mark.parametrize(('batch_norm', 'size'), [(False, (32, 32)), (True, (40, 73))])
def test_narrow_vgg_equals_timms(twins, batch_norm, size):
  import torch
  from timm.models import vgg

  model = VGG(stages=((8, 1), (16, 2), (8, 1)), batch_norm=batch_norm, num_classes=10)
  norm = torch.nn.BatchNorm2d if batch_norm else None
  twin = vgg.VGG([8, 'M', 16, 16, 'M', 8, 'M'], num_classes=10, norm_layer=norm).eval()
  check_both_directions(twins, model, twin, images_of(*size))


def test_short_inception_resnet_equals_timms(twins):
  model = InceptionResNetV2(repeats=(1, 1, 2), bn_eps=1e-3, num_classes=10)
  twin = twins.make_twin('inception_resnet_v2', num_classes=10)
  twin.repeat, twin.repeat_1, twin.repeat_2 = twin.repeat[:1], twin.repeat_1[:1], twin.repeat_2[:1]
  check_both_directions(twins, model, twin, images_of(75, 112))


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'size'), [
  ('vgg16', 64), ('vgg16_bn', 224), ('inception_resnet_v2', 299),
])
def test_full_networks_equal_timms(twins, name, size):
  twins.check_logits(name, size, classes=10)


def test_bn_inception_equals_the_papers_table_in_pytorch(twins):
  import torch
  from torch.nn import functional as F

  model = create_model('bn_inception', num_classes=10)
  variables = random_variables(model)
  images = images_of(64, 64)

  def tensors(*path):
    tree = variables
    for name in path:
      tree = tree[name]
    return {name: torch.from_numpy(np.asarray(array)) for name, array in tree.items()}

  def conv(x, *path, stride=1):
    kernel = tensors('params', *path)['kernel']
    kernel = kernel[None, None] if kernel.ndim == 2 else kernel  # [in, out] of a 1x1
    x = F.conv2d(x, kernel.permute(3, 2, 0, 1), stride=stride, padding=kernel.shape[0] // 2)
    bn = (*path[:-1], f'{path[-1]}_bn')
    affine, statistics = tensors('params', *bn), tensors('batch_stats', *bn)
    x = F.batch_norm(
      x, statistics['mean'], statistics['var'], affine['scale'], affine['bias'], eps=1e-5
    )
    return F.relu(x)

  def halve(x):
    return F.max_pool2d(x, 3, 2, ceil_mode=True)

  x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
  x = halve(conv(x, 'stem_1', stride=2))
  x = halve(conv(conv(x, 'stem_2_reduce'), 'stem_2'))
  for name, (_, one, *_, projected) in BN_INCEPTION.items():
    module = f'inception_{name}'
    stride = 1 if one else 2
    branches = [conv(x, module, 'branch1')] if one else []
    y = conv(x, module, 'branch3_reduce')
    branches.append(conv(y, module, 'branch3', stride=stride))
    y = conv(conv(x, module, 'double3_reduce'), module, 'double3_1')
    branches.append(conv(y, module, 'double3_2', stride=stride))
    if not projected:
      branches.append(halve(x))
    elif name == '5b':
      branches.append(conv(F.max_pool2d(x, 3, 1, 1), module, 'pool_proj'))
    else:
      y = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
      branches.append(conv(y, module, 'pool_proj'))
    x = torch.cat(branches, 1)
  dense = tensors('params', 'classifier')
  theirs = (x.mean((2, 3)) @ dense['kernel'] + dense['bias']).numpy()

  ours = np.asarray(twins.compiled(model)(variables, images))
  assert ours.shape == (2, 10) and ours.std() > 0.01
  difference = twins.relative(ours, theirs)
  print(f'{difference:.1e}')
  assert difference < 1e-5
