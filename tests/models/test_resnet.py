"""ResNets: published counts, places of attention, what is refused; nothing is allocated."""

import jax
import numpy as np
import pytest

from ecanet_jax import create_model, list_models
from ecanet_jax.models import network
from ecanet_jax.models.resnet import ResNet
from ecanet_jax.nn.parameter_shapes import variable_shapes
from ecanet_jax.runtime.errors import UserError
from tests.support.random_variables import random_variables
from tests.support.twins import compiled


def count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def by_depth(name, *values):
  """Values of a test; marked as slow for a network of more than 20 blocks, traced in seconds."""
  slow = sum(network(name).arguments.get('depths', ())) > 20
  return pytest.param(name, *values, marks=pytest.mark.slow if slow else ())


def attention(name, **overrides):
  """Attention's parameters by block, where there are any."""
  params = variable_shapes(create_model(name, **overrides))['params']
  return {block: tree['attention'] for block, tree in params.items() if 'attention' in tree}


# Counted by hand from the papers' tables, layer by layer, in a program that shares no code.
@pytest.mark.parametrize(('name', 'parameters'), [by_depth(*row) for row in (
  ('resnet18', 11_689_512),
  ('resnet34', 21_797_672),
  ('resnet50', 25_557_032),
  ('resnet50_v1', 25_557_032),
  ('resnet101', 44_549_160),
  ('resnet152', 60_192_808),
  ('se_resnet50', 28_071_976),
  ('se_resnet50_v1', 28_071_976),
  ('se_resnet101', 49_292_328),
  ('se_resnet152', 66_770_984),
  ('seresnet50', 28_088_024),
  ('cbam_resnet50', 28_073_576),
  ('cbam_resnet101', 49_295_628),
  ('eca_resnet18', 11_689_548),
  ('eca_resnet18_k3577', 11_689_556),
  ('eca_resnet34_k3357', 21_797_744),
  ('eca_resnet50', 25_557_118),
  ('eca_resnet50_k3557', 25_557_112),
  ('eca_resnet50_k5', 25_557_112),
  ('eca_resnet101_k3357', 44_549_317),
  ('eca_resnet101_k5', 44_549_325),
  ('eca_resnet152_k3357', 60_193_042),
  ('eca_resnet152_k5', 60_193_058),
  ('resnet50_se_var1', 25_557_032),
  ('resnet50_se_var2', 25_572_136),
  ('resnet50_se_var3', 45_676_584),
  ('resnet50_se_gc1', 26_814_504),
  ('resnet50_se_gc2', 25_798_696),
  ('resnet50_se_gc3', 25_677_864),
  ('resnet50_eca_ns_k3', 25_602_344),
  ('resnet50_eca_k3', 25_557_080),
  ('se_resnet50_pre', 27_548_200),
  ('se_resnet50_post', 28_071_976),
  ('se_resnet50_identity', 28_071_976),
  ('a2_resnet50', 32_915_496),
  ('gsop_resnet50', 28_054_440),
  ('aa_resnet50', 25_813_872),
  ('aa_resnet101', 45_391_208),
  ('resnext50_32x4d', 25_028_904),
  ('se_resnext50_32x4d', 27_543_848),
  ('resnext101_32x4d', 44_177_704),
  ('se_resnext101_32x4d', 48_920_872),
  ('senet154', 115_088_984),
)])
def test_counts(name, parameters):
  assert count(variable_shapes(create_model(name), 224)['params']) == parameters


RESNETS = [name for name in list_models() if network(name).family is ResNet]


@pytest.mark.parametrize('name', RESNETS)
def test_every_record_can_be_made(name):
  assert create_model(name).num_classes == 1000


@pytest.mark.parametrize('name', ['resnet50', 'se_resnet50', 'eca_resnet34_k3357'])
def test_published_figures_are_printed_to_the_digit(name):
  parameters = count(variable_shapes(create_model(name))['params'])
  for published in network(name).published:
    if published.parameters:
      digits = len(published.parameters.partition('.')[2])
      assert f'{parameters / published.parameter_unit:.{digits}f}' == published.parameters


def test_accuracies_of_the_slides_are_100_minus_the_error():
  re_implemented, original = network('resnet50_v1').published
  assert (re_implemented.top1, re_implemented.top5) == ('75.20', '92.52')
  assert (original.top1, original.top5) == ('75.3', '92.2')
  assert network('resnext50_32x4d').published[1].top5 == ''


@pytest.mark.parametrize(('name', 'sizes'), [
  ('eca_resnet18_k3577', (3, 5, 7, 7)),
  ('eca_resnet34_k3357', (3, 3, 5, 7)),
  ('eca_resnet50_k3557', (3, 5, 5, 7)),
  ('eca_resnet50', (5, 5, 5, 7)),
  ('eca_resnet50_k5', (5, 5, 5, 5)),
  ('eca_resnet18', (3, 5, 5, 5)),
])
def test_kernel_sizes_of_eca(name, sizes):
  found = {
    (int(block.split('_')[1]), tree['kernel'].shape[0]) for block, tree in attention(name).items()
  }
  assert found == set(enumerate(sizes))


def test_kernel_sizes_by_the_planes():
  sizes = [
    tree['kernel'].shape[0]
    for tree in attention('eca_resnet50', attention={'k_policy': 'eq9_planes'}).values()
  ]
  assert sum(sizes) == 74 and set(sizes) == {3, 5}


@pytest.mark.parametrize('change', [
  {'depths': (3, 4, 6, 4)}, {'avg_down': True}, {'groups': 2}, {'stride_1x1': True},
])
def test_variants_have_no_released_kernel_sizes(change):
  with pytest.raises(UserError, match='the ECA authors released weights'):
    create_model('eca_resnet50_k3557', **change)


def test_facts_of_the_blocks():
  blocks = list(create_model('resnext50_32x4d').blocks())
  assert [block.name for block in blocks[:4]] == [
    'blocks_0_0', 'blocks_0_1', 'blocks_0_2', 'blocks_1_0'
  ]
  assert [block.has_skip for block in blocks[:4]] == [False, True, True, False]
  assert [block.stride for block in blocks[:4]] == [1, 1, 1, 2]
  first, last = blocks[0], blocks[-1]
  assert (first.in_channels, first.mid_channels, first.out_channels, first.planes) == (
    64, 128, 256, 64
  )
  assert (last.mid_channels, last.out_channels, last.planes, last.last) == (1024, 2048, 512, True)
  basic = list(create_model('resnet34').blocks())
  assert [block.has_skip for block in basic[:4]] == [True, True, True, False]
  assert basic[-1].planes == basic[-1].mid_channels == basic[-1].out_channels == 512


def test_first_convolutions_of_senet154_are_half_as_wide():
  params = variable_shapes(create_model('senet154'))['params']
  kernel = lambda module: params['blocks_1_0'][module]['kernel'].shape
  assert kernel('conv_1') == (256, 256)
  assert kernel('conv_2') == (3, 3, 4, 512)
  assert kernel('shortcut') == (3, 3, 256, 512)
  assert params['blocks_0_0']['shortcut']['kernel'].shape == (128, 256)


def test_tiered_stem():
  params = variable_shapes(create_model('ecaresnet26t'))['params']
  assert [params[f'stem_{i}']['kernel'].shape[-1] for i in (1, 2, 3)] == [24, 32, 64]


@pytest.mark.parametrize(('position', 'channels'), [
  ('end', [32, 64]), ('post', [32, 64]), ('identity', [32, 64]), ('pre', [8, 32]),
  ('depthwise', [8, 16]),
])
def test_widths_at_the_positions(position, channels):
  """SE is as wide as what it reweights."""
  model = create_model('tiny_resnet', attention={'kind': 'se', 'position': position})
  params = variable_shapes(model)['params']
  blocks = [params['blocks_0_0'], params['blocks_1_0']]
  assert [block['attention']['expand']['kernel'].shape[-1] for block in blocks] == channels


def gates_of_a_half(position, bottleneck=True):
  """Logits where attention multiplies by 1/2, and the same variables without attention."""
  model = create_model(
    'tiny_resnet', num_classes=7, bottleneck=bottleneck,
    attention={'kind': 'se', 'position': position},
  )
  variables = random_variables(model, seed=3)
  blocks = [variables['params']['blocks_0_0'], variables['params']['blocks_1_0']]
  for block in blocks:
    block['attention']['expand']['kernel'][:] = 0  # the sigmoid of 0 is 1/2
  logits = np.asarray(compiled(model)(variables, IMAGES))
  for block in blocks:
    del block['attention']
  return logits, variables


def check_plain_logits(logits, variables, bottleneck=True):
  model = create_model('tiny_resnet', num_classes=7, bottleneck=bottleneck, attention='none')
  np.testing.assert_allclose(
    np.asarray(compiled(model)(variables, IMAGES)), logits, rtol=1e-4, atol=1e-4
  )


def scale(module, factor):
  """Multiplies what a convolution or a BatchNorm puts out."""
  for array in ('kernel',) if 'kernel' in module else ('scale', 'bias'):
    module[array] = factor * module[array]


IMAGES = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)


# The module in which a factor of 1/2 does the same; {last} is the block's last convolution.
@pytest.mark.parametrize(('position', 'module', 'bottleneck'), [
  ('end', '{last}_bn', True),
  ('end', '{last}_bn', False),
  ('pre', 'conv_1', True),
  ('pre', 'conv_1', False),
  ('depthwise', '{last}', True),
  ('depthwise', '{last}', False),
  ('identity', 'shortcut_bn', True),
])
def test_each_position_is_where_it_is_said_to_be(position, module, bottleneck):
  logits, variables = gates_of_a_half(position, bottleneck)
  for name in ('blocks_0_0', 'blocks_1_0'):
    last = 'conv_3' if bottleneck else 'conv_2'
    scale(variables['params'][name][module.format(last=last)], 0.5)
  check_plain_logits(logits, variables, bottleneck)


def test_identity_reweights_an_unchanged_input():
  logits, variables = gates_of_a_half('identity', bottleneck=False)
  first, second = variables['params']['blocks_0_0'], variables['params']['blocks_1_0']
  assert 'shortcut' not in first
  scale(first['conv_2_bn'], 2)  # relu(x / 2 + y) = relu(x + 2 y) / 2
  scale(second['conv_1'], 0.5)
  scale(second['shortcut'], 0.5)
  scale(second['shortcut_bn'], 0.5)
  check_plain_logits(logits, variables, bottleneck=False)


def test_post_is_after_the_activation():
  logits, variables = gates_of_a_half('post')
  scale(variables['params']['blocks_1_0']['conv_1'], 0.5)
  scale(variables['params']['blocks_1_0']['shortcut'], 0.5)
  scale(variables['params']['classifier'], 0.5)
  check_plain_logits(logits, variables)


def test_augmented_convolutions_take_the_place_of_the_3x3():
  params = variable_shapes(create_model('aa_resnet50'))['params']
  assert 'conv_2' in params['blocks_0_0'] and 'conv_2' not in params['blocks_1_0']
  assert {'conv', 'qkv', 'output'} < set(params['blocks_1_0']['attention'])
  assert params['blocks_1_0']['conv_2_bn']['scale'].shape == (128,)


@pytest.mark.parametrize(('name', 'blocks'), [
  ('a2_resnet50', {'blocks_1_1', 'blocks_1_3', 'blocks_2_1', 'blocks_2_3', 'blocks_2_5'}),
  ('gsop_resnet50', {'blocks_1_3', 'blocks_2_5', 'blocks_3_2'}),
])
def test_blocks_with_attention(name, blocks):
  assert set(attention(name)) == blocks


def test_training_drops_paths_and_updates_the_statistics():
  model = create_model('tiny_resnet', drop_path=0.5, num_classes=3)
  variables = random_variables(model)
  images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype(np.float32)
  train = jax.jit(
    lambda key: model.apply(
      variables, images, train=True, mutable=['batch_stats'], rngs={'dropout': key}
    ),
    compiler_options={'xla_backend_optimization_level': 0},
  )
  (a, state), (b, _) = train(jax.random.key(1)), train(jax.random.key(2))
  assert not np.array_equal(a, b)
  before = variables['batch_stats']['blocks_1_0']['shortcut_bn']['mean']
  assert not np.array_equal(before, state['batch_stats']['blocks_1_0']['shortcut_bn']['mean'])


@pytest.mark.parametrize(('arguments', 'text'), [
  ({'stem': 'dep'}, "unknown stem 'dep'. Did you mean 'deep'?"),
  ({'stem_pool': 'cail'}, "unknown stem_pool 'cail'. Did you mean 'ceil'?"),
  ({'depths': ()}, 'depths=(): name one or more stages of at least 1 block each'),
  ({'depths': (3, 0)}, 'depths=(3, 0): name one or more stages'),
  ({'groups': 0}, 'groups=0 must be at least 1'),
  ({'last_stride': 0}, 'last_stride=0 must be at least 1'),
  ({'down_kernel': 2}, 'down_kernel=2 must be odd'),
  ({'stem': 'deep_tiered', 'stem_width': 3}, 'stem_width=3 must be at least 4'),
  ({'groups': 2, 'base_width': 3, 'reduce_first': 2},
   'reduce_first=2 does not divide the 3 channels per group of stage 1; it can be 1, 3.'),
  ({'planes': 8, 'groups': 32, 'base_width': 4},
   'base_width=4 gives groups without channels where planes=8; it must be at least 8.'),
  ({'bottleneck': False, 'groups': 32, 'base_width': 4}, 'groups=32 is for bottlenecks'),
  ({'bottleneck': False, 'stride_1x1': True}, 'stride_1x1=True is for bottlenecks'),
  ({'groups': 32, 'base_width': 4, 'attention': 'aa'}, 'groups=32 must be 1'),
  ({'stride_1x1': True, 'attention': 'aa'}, 'stride_1x1=True False'),
  ({'attention': {'kind': 'se', 'position': 'conv'}}, "'se' cannot be at 'conv' in ResNet"),
  ({'attention': {'kind': 'eca', 'position': 'front'}}, 'attention.position of ResNet'),
  ({'attention': {'kind': 'se', 'stages': (5,)}}, 'stages 1 to 4'),
  ({'frozen_stages': 5}, 'frozen_stages=5 must be from 0 to 4'),
])
def test_bad_input(arguments, text):
  with pytest.raises(UserError) as error:
    create_model('resnet50', **arguments)
  assert text in str(error.value) and '\n' not in str(error.value)
