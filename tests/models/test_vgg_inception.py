"""VGG-16, BN-Inception and Inception-ResNet-v2: counts, sizes, mistakes."""

import math

import jax
import jax.numpy as jnp
import pytest

from ecanet_jax import create_model
from ecanet_jax.nn.parameter_shapes import variable_shapes
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights.convert import entries
from tests.support.bn_inception import BN_INCEPTION


def image_shape(size):
  return jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)


def parameters(model):
  return sum(leaf.size for leaf in jax.tree.leaves(variable_shapes(model, 96)['params']))


def multiply_adds(model, size):
  """Products of all convolutions and matrices in what JAX traces: knows nothing of our layers."""
  apply = lambda variables, x: model.apply(variables, x, train=False)
  closed = jax.make_jaxpr(apply)(variable_shapes(model, 96), image_shape(size))

  def walk(jaxpr):
    total = 0
    for equation in jaxpr.eqns:
      if equation.primitive.name == 'conv_general_dilated':
        kernel = equation.invars[1].aval.shape
        total += math.prod(kernel[:-1]) * equation.outvars[0].aval.size
      elif equation.primitive.name == 'dot_general':
        contracted = equation.params['dimension_numbers'][0][0]
        lengths = [equation.invars[0].aval.shape[axis] for axis in contracted]
        total += math.prod(lengths) * equation.outvars[0].aval.size
      for value in equation.params.values():
        inner = getattr(value, 'jaxpr', value)
        total += walk(inner) if hasattr(inner, 'eqns') else 0
    return total

  return walk(closed.jaxpr)


def bn_inception_by_hand():
  """Parameters without attention, and output channels of the modules."""
  conv = lambda i, o, k: i * o * k * k + 2 * o
  total = conv(3, 64, 7) + conv(64, 64, 1) + conv(64, 192, 3)
  channels, widths = 192, []
  for _, one, reduce, three, double_reduce, double, projected in BN_INCEPTION.values():
    total += conv(channels, one, 1) + conv(channels, projected, 1)
    total += conv(channels, reduce, 1) + conv(reduce, three, 3)
    total += conv(channels, double_reduce, 1) + conv(double_reduce, double, 3)
    total += conv(double, double, 3)
    channels = one + three + double + (projected or channels)
    widths.append(channels)
  return total + channels * 1000 + 1000, widths


@pytest.mark.parametrize(('name', 'expected'), [
  ('vgg16', 138_357_544),  # torchvision's and timm's
  ('vgg16_bn', 138_365_992),
  ('se_vgg16', 138_433_832),
  ('se_vgg16_bn', 138_365_992 + 138_433_832 - 138_357_544),
  ('eca_vgg16_bn', 138_365_992 + 3 + 5 + 5 + 5 + 5),
  ('bn_inception', bn_inception_by_hand()[0]),
  ('se_bn_inception',
   bn_inception_by_hand()[0] + sum(2 * c * (c // 16) for c in bn_inception_by_hand()[1])),
  ('inception_resnet_v2', 55_843_464),  # timm's
  ('se_inception_resnet_v2',
   55_843_464 + 11 * 2 * 320 * 20 + 21 * 2 * 1088 * 68 + 11 * 2 * 2080 * 130),
])
def test_parameters(name, expected):
  assert parameters(create_model(name)) == expected


@pytest.mark.parametrize(('name', 'size', 'expected'), [
  ('vgg16_bn', 224, 15_470_264_320),
  ('bn_inception', 224, 2_032_600_064),
  pytest.param('inception_resnet_v2', 299, 13_155_794_016, marks=pytest.mark.slow),
])
def test_multiply_adds(name, size, expected):
  assert multiply_adds(create_model(name), size) == expected


@pytest.mark.parametrize(('name', 'size', 'stages'), [
  ('se_vgg16', 224, [(112, 64), (56, 128), (28, 256), (14, 512), (7, 512)]),
  ('se_bn_inception', 224, [(28, 320), (14, 608), (7, 1024)]),
  pytest.param('se_inception_resnet_v2', 299, [(35, 320), (17, 1088), (8, 2080)],
               marks=pytest.mark.slow),
])
def test_stages(name, size, stages):
  model = create_model(name)
  apply = lambda variables, x: model.apply(variables, x, train=False, mutable=['intermediates'])
  logits, state = jax.eval_shape(apply, variable_shapes(model, 96), image_shape(size))
  seen = [state['intermediates'][f'stage_{i + 1}'][0].shape for i in range(len(stages))]
  assert seen == [(1, pixels, pixels, channels) for pixels, channels in stages]
  assert logits.shape == (1, 1000)
  blocks = list(model.blocks())
  assert [block.out_channels for block in blocks if block.last] == [c for _, c in stages]
  assert [b.in_channels for b in blocks[1:]] == [b.out_channels for b in blocks[:-1]]
  pixels = size // model.stem_stride // math.prod(block.stride for block in blocks)
  assert abs(pixels - stages[-1][0]) <= 1  # the stem of Inception-ResNet has no padding


@pytest.mark.parametrize(('position', 'blocks'), [
  ('end', ['mixed_5b', 'block35_1', 'mixed_6a', 'block17_1', 'mixed_7a', 'block8_1']),
  ('pre', ['mixed_5b', 'block35_1', 'mixed_6a', 'block17_1', 'mixed_7a', 'block8_1']),
  ('identity', ['block35_1', 'block17_1', 'block8_1']),
])
def test_places_in_inception_resnet(position, blocks):
  model = create_model(
    'tiny_inception_resnet_v2', attention={'kind': 'se_var2', 'position': position}
  )
  found = {
    name: tree['attention']['kernel'].shape[1]
    for name, tree in variable_shapes(model, 96)['params'].items() if 'attention' in tree
  }
  by_name = {block.name: block for block in model.blocks()}
  field = 'in_channels' if position == 'pre' else 'out_channels'
  assert found == {name: getattr(by_name[name], field) for name in blocks}


@pytest.mark.parametrize(('arguments', 'text'), [
  ({'name': 'vgg16', 'mlp': -1}, 'mlp=-1 must be at least 0'),
  ({'name': 'vgg16', 'drop_path': 0.1}, 'drop_path=0.1 must be 0: VGG has no residual branches'),
  ({'name': 'bn_inception', 'drop_path': 0.1}, 'drop_path=0.1 must be 0: BN-Inception has no'),
  ({'name': 'vgg_16'}, "Did you mean 'vgg16'?"),
  ({'name': 'se_vgg16', 'attention': {'position': 'ende'}}, "Did you mean 'end'?"),
  ({'name': 'se_vgg16', 'attention': {'where': 'skip'}}, 'selects no block of VGG'),
  ({'name': 'inception_resnet_v2', 'repeats': (1, 1)}, 'repeats=(1, 1) must be 3 numbers'),
  ({'name': 'inception_resnet_v2', 'repeats': (1, 0, 1)}, 'such as (10, 20, 10)'),
  ({'name': 'inception_resnet_v2', 'width': 0.0}, 'width=0.0 must be above 0'),
])
def test_bad_input(arguments, text):
  with pytest.raises(UserError) as error:
    create_model(**arguments)
  assert text in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize(('name', 'size'), [
  ('vgg16', 32), ('tiny_vgg', 8), ('tiny_inception_resnet_v2', 75), ('tiny_bn_inception', 1),
])
def test_smallest_images(name, size):
  model = create_model(name, num_classes=10)
  variables = variable_shapes(model, 96)
  apply = lambda variables, x: model.apply(variables, x, train=False)
  assert jax.eval_shape(apply, variables, image_shape(size)).shape == (1, 10)
  if size > 1:
    with pytest.raises(UserError, match=rf'images of {size - 1} x {size - 1} .* {size} x {size}'):
      jax.eval_shape(apply, variables, image_shape(size - 1))


@pytest.mark.parametrize(('name', 'overrides'), [
  ('tiny_vgg', {'mlp': 16, 'dropout': 0.5}),
  ('tiny_bn_inception', {'frozen_stages': 1}),
  ('tiny_inception_resnet_v2', {'drop_path': 0.2, 'frozen_stages': 1}),
])
def test_training_has_gradients_and_statistics(name, overrides):
  model = create_model(name, num_classes=10, **overrides)
  variables = variable_shapes(model, 96)

  def loss(params, images):
    logits, changed = model.apply(
      {**variables, 'params': params}, images, train=True, mutable=['batch_stats'],
      rngs={'dropout': jax.random.key(0)},
    )
    return logits.mean(), changed['batch_stats']

  zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), variables['batch_stats'])
  variables = {'batch_stats': zeros, 'params': variables['params']}
  images = jax.ShapeDtypeStruct((4, 75, 75, 3), jnp.float32)
  gradient, changed = jax.eval_shape(
    jax.grad(loss, has_aux=True), variables['params'], images
  )
  assert gradient == variables['params']
  assert jax.tree.map(jnp.shape, changed) == jax.tree.map(jnp.shape, zeros)


def test_last_block_of_inception_resnet_adds_as_it_is():
  *others, last = create_model('inception_resnet_v2').blocks()
  assert last.name == 'block8_10' and last.scale == 1.0 and not last.activated
  assert {(block.kind, block.scale) for block in others if block.adds} == {
    ('block35', 0.17), ('block17', 0.1), ('block8', 0.2)
  }
  assert all(block.activated for block in others)


@pytest.mark.parametrize(('name', 'kind', 'key'), [
  ('tiny_vgg', 'eca', 'features.9.se.conv.weight'),
  ('tiny_vgg', 'se', 'features.2.se.fc2.weight'),
  ('tiny_inception_resnet_v2', 'eca', 'mixed_6a.se.conv.weight'),
  ('tiny_inception_resnet_v2', 'se', 'block8.se.fc1.weight'),
])
def test_attention_has_names(name, kind, key):
  keys = [entry.key for entry in entries(create_model(name, attention=kind), 'timm')[0]]
  assert key in keys and len(set(keys)) == len(keys)
