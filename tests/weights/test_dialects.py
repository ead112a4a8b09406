"""Dialects of other code: byte-exact both ways, and equal logits where that code can be run."""

import jax
import numpy as np
import pytest
from flax import traverse_util

from ecanet_jax import create_model
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import from_torch, to_torch, verify
from ecanet_jax.weights.convert import count_classes, entries
from ecanet_jax.weights.eca_kernel_size import kernel_sizes, widen_kernels
from tests.support.random_variables import random_variables

torch = pytest.importorskip('torch', reason='the other networks are in PyTorch')

from tests.support import twins  # noqa: E402  after the check for PyTorch

NARROW_VGG = {'stages': ((8, 1), (16, 2), (24, 1)), 'mlp': 32, 'num_classes': 5}
TF_SE = {'attention': 'se', 'preset': 'tf'}
NARROW_RESNET = {'depths': (1, 1, 1, 2), 'planes': 8, 'stem_width': 8, 'num_classes': 5}


def their_arrays(model, variables, dialect):
  """The arrays under the dialect's names, for dialects that are not written too."""
  flat = traverse_util.flatten_dict(variables, sep='/')
  return {
    entry.key: np.ascontiguousarray(entry.leaf.to_theirs(flat[entry.path]))
    for entry in entries(model, dialect)[0]
  }


@pytest.mark.parametrize(('name', 'arguments', 'dialects'), [
  ('tiny_efficientnet', {'attention': 'se'}, ['timm', 'torchvision']),
  ('tiny_efficientnet', TF_SE, ['timm', 'lukemelas', 'tf1', 'keras']),
  ('tiny_efficientnet', {'attention': 'eca'}, ['timm']),
  ('tiny_mobilenetv2', {}, ['timm', 'ecanet']),
  ('tiny_mobilenetv2', {'attention': 'none'}, ['timm', 'torchvision', 'ecanet']),
  ('vgg16', NARROW_VGG, ['timm', 'torchvision']),  # no statistics
  ('vgg16_bn', NARROW_VGG, ['timm', 'torchvision']),
  ('resnet18', NARROW_RESNET, ['timm', 'torchvision', 'ecanet', 'cadene', 'moskomule']),
  ('resnet18', {**NARROW_RESNET, 'attention': 'se'}, ['timm', 'cadene', 'moskomule']),
  ('resnet18', {**NARROW_RESNET, 'attention': 'eca'}, ['timm', 'ecanet']),
])
def test_round_trip_is_byte_exact(name, arguments, dialects):
  model = create_model(name, **arguments)
  variables = {'batch_stats': {}, **random_variables(model)}
  for dialect in dialects:
    state = their_arrays(model, variables, dialect)
    assert count_classes(model, state, dialect) == model.num_classes
    back = from_torch(model, state, dialect)
    assert jax.tree.structure(back) == jax.tree.structure(variables)
    for left, right in zip(jax.tree.leaves(back), jax.tree.leaves(variables)):
      assert left.dtype == right.dtype and left.tobytes() == right.tobytes()


@pytest.mark.parametrize(('name', 'theirs'), [
  ('resnet18', 'resnet18'),
  ('mobilenetv2_100', 'mobilenet_v2'),
  *(pytest.param(*names, marks=pytest.mark.slow) for names in (
    ('efficientnet_b0', 'efficientnet_b0'),
    ('efficientnet_b3', 'efficientnet_b3'),
    ('tv_efficientnet_b5', 'efficientnet_b5'),
    ('resnet50', 'resnet50'),
    ('resnet152', 'resnet152'),
    ('resnext50_32x4d', 'resnext50_32x4d'),
  )),
])
def test_logits_equal_torchvisions(name, theirs):
  import torchvision

  twin = getattr(torchvision.models, theirs)(weights=None, num_classes=20)
  twins.check_twin(create_model(name, num_classes=20), twin, 'torchvision', 64)


@pytest.mark.parametrize(
  'i', [0, 3, *(pytest.param(i, marks=pytest.mark.slow) for i in (1, 2, 4, 5, 6, 7))]
)
def test_every_efficientnet_has_torchvisions_arrays(i):
  import torchvision

  with torch.device('meta'):
    twin = getattr(torchvision.models, f'efficientnet_b{i}')(weights=None)
  norms = [module for module in twin.modules() if isinstance(module, torch.nn.BatchNorm2d)]
  expected = (1e-5, 0.1) if i < 5 else (1e-3, 0.01)
  assert {(norm.eps, norm.momentum) for norm in norms} == {expected}
  model = create_model(f'{"" if i < 5 else "tv_"}efficientnet_b{i}')
  assert model.make_layers().preset.bn_eps == expected[0]
  assert_arrays(model, twin)


@pytest.mark.parametrize('name', ['vgg16', 'vgg16_bn'])
def test_vgg_has_torchvisions_arrays(name):
  import torchvision

  with torch.device('meta'):
    twin = getattr(torchvision.models, name)(weights=None)
  assert_arrays(create_model(name), twin)


def assert_arrays(model, twin):
  """Keys, shapes and order; without making arrays as large as VGG's."""
  found, counters = entries(model, 'torchvision')
  theirs = {key: tuple(tensor.shape) for key, tensor in twin.state_dict().items()}
  counted = [key for key in theirs if key.endswith('num_batches_tracked')]
  assert counters == counted
  ours = [(entry.key, entry.their_shape) for entry in found]
  assert ours == [item for item in theirs.items() if item[0] not in set(counted)]


# A last map of 7 pixels, and one of 2, which both enlarge. Larger ones torchvision averages before
# the hidden layers, and we, as timm, behind them.
@pytest.mark.parametrize('size', [56, 20])
def test_flattened_layer_equals_torchvisions(size):
  import torchvision

  stages, width, classes = NARROW_VGG['stages'], NARROW_VGG['mlp'], NARROW_VGG['num_classes']
  layers, channels = [], 3
  for out, convs in stages:
    for _ in range(convs):
      layers += [torch.nn.Conv2d(channels, out, 3, padding=1), torch.nn.BatchNorm2d(out)]
      layers += [torch.nn.ReLU()]
      channels = out
    layers += [torch.nn.MaxPool2d(2, 2)]
  twin = torchvision.models.VGG(torch.nn.Sequential(*layers), num_classes=classes)
  for i, sizes in ((0, (channels * 7 * 7, width)), (3, (width, width)), (6, (width, classes))):
    twin.classifier[i] = torch.nn.Linear(*sizes)
  twins.check_twin(create_model('vgg16_bn', **NARROW_VGG), twin, 'torchvision', size)


@pytest.mark.parametrize(
  'size', [pytest.param(b, marks=pytest.mark.slow) for b in ('b0', 'b1', 'b2', 'b3')]
)
def test_logits_equal_lukemelass(size):
  theirs = pytest.importorskip(
    'efficientnet_pytorch', reason='lukemelas/EfficientNet-PyTorch is not installed'
  )
  # Its padding is TensorFlow's for the one size of image that is said here.
  twin = theirs.EfficientNet.from_name(f'efficientnet-{size}', num_classes=20, image_size=224)
  twins.check_twin(create_model(f'tf_efficientnet_{size}', num_classes=20), twin, 'lukemelas', 224)


def moskomule():
  """A narrow SE-ResNet whose SE is that of moskomule/senet.pytorch: two linear layers."""
  from torchvision.models.resnet import BasicBlock, ResNet

  class SE(torch.nn.Module):
    def __init__(self, channels):
      super().__init__()
      self.fc = torch.nn.Sequential(
        torch.nn.Linear(channels, channels // 16, bias=False), torch.nn.ReLU(),
        torch.nn.Linear(channels // 16, channels, bias=False), torch.nn.Sigmoid(),
      )

    def forward(self, x):
      return x * self.fc(x.mean((2, 3)))[:, :, None, None]

  class Block(BasicBlock):
    def __init__(self, inplanes, planes, stride=1, downsample=None, *arguments):
      super().__init__(inplanes, planes, stride, None, *arguments)
      self.se = SE(planes)
      self.downsample = downsample  # after SE, as there

    def forward(self, x):
      y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
      shortcut = x if self.downsample is None else self.downsample(x)
      return self.relu(self.se(y) + shortcut)

  return ResNet(Block, [1, 1, 1, 1], num_classes=20)


def test_logits_equal_moskomules():
  model = create_model('resnet18', depths=(1, 1, 1, 1), attention='se', num_classes=20)
  keys = [entry.key for entry in entries(model, 'moskomule')[0]]
  assert {'layer1.0.se.fc.0.weight', 'layer4.0.se.fc.2.weight'} <= set(keys)
  assert not any('se.fc' in key and key.endswith('bias') for key in keys)
  twins.check_twin(model, moskomule(), 'moskomule', 64)


@pytest.mark.parametrize(
  'dialect', ['torchvision', *(pytest.param(d, marks=pytest.mark.slow) for d in ('tf1', 'keras'))]
)
def test_imports_are_verified(dialect):
  preset = 'torch' if dialect == 'torchvision' else 'tf'
  model = create_model('tiny_efficientnet', attention='se', preset=preset)
  variables = random_variables(model)
  state = their_arrays(model, variables, dialect)
  assert verify(model, variables, state, dialect, image_size=32).max_abs == 0
  state = dict(state)
  key = next(key for key, array in state.items() if array.shape[-2:] == (3, 3)
             or array.shape[:2] == (3, 3))
  state[key] = state[key][..., ::-1, :] if key.startswith('features') else state[key][::-1]
  with pytest.raises(UserError, match='wrong by more than the tolerance'):
    verify(model, variables, state, dialect, image_size=32)


@pytest.mark.parametrize('dialect', ['tf1', 'keras'])
def test_export_to_tensorflow_is_refused(dialect):
  model = create_model('tiny_efficientnet', attention='se')
  with pytest.raises(UserError, match=f'{dialect!r} is for import only.*lukemelas, timm, torchv'):
    to_torch(model, {}, dialect)


@pytest.mark.parametrize(('name', 'dialect', 'reason'), [
  ('efficientnet_b0', 'lukemelas', "TensorFlow's padding .* choose tf_efficientnet_"),
  ('efficientnet_b0', 'keras', 'this one has preset=torch'),
  ('efficientnet_b0', 'tf1', 'this one has preset=torch'),
  ('tf_efficientnet_b0', 'torchvision', 'symmetric padding .* efficientnet_..., without tf_'),
  pytest.param(
    'efficientnet_b5', 'torchvision', 'eps 0.001 at this width; choose .* as tv_efficientnet_b5',
    marks=pytest.mark.slow,
  ),
])
def test_code_with_other_constants_is_refused(name, dialect, reason):
  with pytest.raises(UserError, match=reason):
    from_torch(create_model(name), {}, dialect)
  if dialect not in ('keras', 'tf1'):
    with pytest.raises(UserError, match=reason):
      to_torch(create_model(name), {}, dialect)


@pytest.mark.parametrize(('name', 'attention', 'dialect'), [
  ('tiny_efficientnet', 'eca', 'torchvision'),
  ('tiny_efficientnet', 'eca', 'keras'),
  ('tiny_vgg', 'eca', 'torchvision'),
  ('resnet18', 'eca', 'moskomule'),
])
def test_a_dialect_without_eca_says_so(name, attention, dialect):
  with pytest.raises(UserError, match=f'{dialect!r} has no name for params/.*attention/kernel'):
    entries(create_model(name, attention=attention), dialect)


@pytest.mark.parametrize('dialect', ['tf1', 'keras', 'torchvision'])
def test_other_dialect_has_a_hint(dialect):
  model = create_model('tiny_efficientnet', attention='se')
  state = their_arrays(model, random_variables(model), dialect)
  with pytest.raises(UserError, match=f'keys look like the dialect {dialect!r}, not'):
    from_torch(model, state, 'timm')


@pytest.mark.parametrize('dialect', ['tf1', 'keras'])
def test_hints_know_tensorflows_names(dialect):
  model = create_model('tiny_efficientnet', **TF_SE, num_classes=10)
  state = their_arrays(model, random_variables(model), dialect)
  with pytest.raises(UserError, match='10 classes, the network 7'):
    from_torch(create_model('tiny_efficientnet', **TF_SE, num_classes=7), state, dialect)
  with pytest.raises(UserError, match='Its attention is se, the network has none'):
    bare = create_model('tiny_efficientnet', attention='none', preset='tf', num_classes=10)
    from_torch(bare, state, dialect)


def eca_resnet(*k, kind='eca'):
  return create_model('resnet18', **NARROW_RESNET, attention={'kind': kind, 'k': k})


shapes_of = lambda state: {key: array.shape for key, array in state.items()}


@pytest.mark.parametrize('dialect', ['timm', 'ecanet'])
def test_kernel_sizes_are_read_by_block(dialect):
  model = eca_resnet(3, 5, 5, 7)
  state = to_torch(model, random_variables(model), dialect)
  assert kernel_sizes(eca_resnet(3), shapes_of(state), dialect) == {
    'blocks_0_0': 3, 'blocks_1_0': 5, 'blocks_2_0': 5, 'blocks_3_0': 7, 'blocks_3_1': 7,
  }
  plain = create_model('resnet18', **NARROW_RESNET)
  assert kernel_sizes(plain, shapes_of(to_torch(plain, random_variables(plain))), dialect) == {}


@pytest.mark.parametrize('kind', ['eca', pytest.param('eca_circular', marks=pytest.mark.slow)])
def test_widened_kernels_compute_the_same(kind):
  model, wider = eca_resnet(3, kind=kind), eca_resnet(5, 7, 3, 7, kind=kind)
  variables = random_variables(model)
  state = to_torch(model, variables)
  images = np.random.default_rng(1).normal(size=(2, 64, 64, 3)).astype(np.float32)
  wide = from_torch(wider, widen_kernels(state, wider))
  assert wide['params']['blocks_1_0']['attention']['kernel'].shape == (7,)
  expected = np.asarray(twins.compiled(model)(variables, images))
  assert expected.std() > 0.1
  assert twins.relative(np.asarray(twins.compiled(wider)(wide, images)), expected) < 1e-6


def test_kernels_that_cannot_be_widened():
  model = eca_resnet(5)
  state = to_torch(model, random_variables(model))
  with pytest.raises(UserError, match=r"layer1.0.se.conv.weight: a kernel of k=5 .* k=3 by zeros"):
    widen_kernels(state, eca_resnet(3))
  state['layer1.0.se.conv.weight'] = state['layer1.0.se.conv.weight'][..., :4]
  with pytest.raises(UserError, match=r'a kernel of k=4 cannot become .* k=5'):
    widen_kernels(state, model)
  with pytest.raises(UserError, match='has ECA kernels in 0 blocks and the network in 5'):
    widen_kernels({}, model)


def test_other_kernel_sizes_have_a_hint():
  model = eca_resnet(3, 5, 5, 7)
  state = to_torch(model, random_variables(model))
  hint = (
    r'3 wrong in shape .* Its ECA kernels have k=3, 5, 5, 7 in the stages, the network '
    r'{}; make the network with --config.model.attention.k="\(3, 5, 5, 7\)" \(train, eval\){}\.$'
  )
  with pytest.raises(UserError, match=hint.format('3, 3, 3, 3', '').replace('3 wr', '4 wr')):
    from_torch(eca_resnet(3), state)
  with pytest.raises(UserError, match=hint.format('5, 7, 5, 9', ', or widen the kernels with .*')
                     .replace('3 wr', '4 wr')):
    from_torch(eca_resnet(5, 7, 5, 9), state)


def test_hint_of_one_size_for_all_and_of_a_policy():
  circular = eca_resnet(3, kind='eca_circular')
  with pytest.raises(UserError, match=r'k=3, 3, 3, 3 in the stages, the network 5, 5, 5, 5; make'):
    state = to_torch(circular, random_variables(circular))
    from_torch(eca_resnet(5, kind='eca_circular'), state)
  state = to_torch(eca_resnet(3), random_variables(eca_resnet(3)))
  with pytest.raises(UserError, match=r'attention.k="\(3,\)" \(train, eval\), or widen'):
    from_torch(eca_resnet(5), state)
  model = create_model('tiny_efficientnet', attention='eca', stages=create_model(
    'efficientnet_b0').stages[:2])
  state = to_torch(model, random_variables(model))
  sizes = kernel_sizes(model, shapes_of(state))
  assert len(set(sizes.values())) == 2
  other = create_model('tiny_efficientnet', attention={'kind': 'eca', 'k': (7,)},
                       stages=model.stages)
  with pytest.raises(UserError, match=r'k_policy=eq9_output \(train, eval\), or widen'):
    from_torch(other, state)
  key = 'blocks.1.1.se.conv.weight'
  state[key] = np.zeros((1, 1, 9), np.float32)
  with pytest.raises(UserError, match='the network 7, 7; no k or k_policy of this network fits'):
    from_torch(other, state)
