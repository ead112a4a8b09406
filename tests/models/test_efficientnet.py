"""Places of attention, scaling, bad input: nothing is allocated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax import create_model, list_models
from ecanet_jax.models import create_from_config
from ecanet_jax.models.count import count
from ecanet_jax.models.efficientnet import compound_scaling, round_channels
from ecanet_jax.models.efficientnet_networks import SCALE
from ecanet_jax.runtime.errors import UserError


def attention(name, **overrides):
  """Shapes of attention's parameters by block, where there are any."""
  shapes, blocks = count(create_model(name, **overrides), 64).shapes, {}
  for path, shape in shapes.items():
    _, block, *module = path.split('/')
    if module[0] == 'attention':
      blocks.setdefault(block, {})['/'.join(module[1:])] = shape
  return blocks


def test_kernel_sizes_of_eca():
  sizes = [tree['kernel'][0] for tree in attention('eca_efficientnet_b0').values()]
  assert sizes == [3, 3] + [5] * 14


# The counts of the published ones are in test_networks.py.
@pytest.mark.parametrize('where', ['all', 'skip', 'noskip'])
def test_places(where):
  blocks = attention('efficientnet_b0', attention={'where': where, 'position': 'end'})
  skips = {f'blocks_{s}_{b}' for s, b in
           ((1, 1), (2, 1), (3, 1), (3, 2), (4, 1), (4, 2), (5, 1), (5, 2), (5, 3))}
  assert len(blocks) == {'all': 16, 'skip': 9, 'noskip': 7}[where]
  assert where == 'all' or (set(blocks) <= skips) == (where == 'skip')


def test_elsewhere_keeps_the_attention_in_the_other_blocks():
  model = create_model('b0_seend_hasskip')
  places = {block.name: model.slot(block).position for block in model.blocks()}
  assert {places[b.name] for b in model.blocks() if b.has_skip} == {'end'}
  assert {places[b.name] for b in model.blocks() if not b.has_skip} == {'depthwise'}


def test_identity_has_a_place_only_where_something_is_added():
  blocks = attention('eca_efficientnet_b0', attention={'position': 'identity'})
  assert len(blocks) == 9


def test_stages_and_kernel_sizes_by_stage():
  blocks = attention(
    'eca_efficientnet_b0',
    attention={'where': 'stages', 'stages': (2, 7), 'k': (1, 3, 5, 7, 9, 11, 13)},
  )
  assert {name: tree['kernel'][0] for name, tree in blocks.items()} == {
    'blocks_1_0': 3, 'blocks_1_1': 3, 'blocks_6_0': 13
  }


def test_lists_by_pattern():
  assert list_models('*eca_efficientnet*') == ['eca_efficientnet_b0', 'tf_eca_efficientnet_b0']
  assert 'tiny_efficientnet' in list_models()


@pytest.mark.parametrize(('arguments', 'text'), [
  ({'name': 'eca_efficientnet_b'}, "Did you mean 'eca_efficientnet_b0'?"),
  ({'name': 'zzz'}, 'are known.'),
  ({'name': 'efficientnet_b0', 'width': 0.0}, 'width=0.0 must be above 0'),
  ({'name': 'efficientnet_b0', 'attention': {'position': 'conv'}}, 'position of EfficientNet'),
  ({'name': 'efficientnet_b0', 'attention': {'kind': 'aa'}}, 'these blocks have none'),
  ({'name': 'efficientnet_b0', 'attentoin': 'eca'}, "has no field 'attentoin'. Did you mean 'att"),
  ({'name': 'efficientnet_b0', 'attention': {'knd': 'se'}}, "no field 'knd'. Did you mean 'kind'"),
  ({'name': 'efficientnet_b0', 'preset': 'pytorch'}, "'pytorch'. Did you mean 'torch'"),
  ({'name': 'efficientnet_b0', 'activation': 'swich'}, "Did you mean 'swish'"),
  ({'name': 'efficientnet_b0', 'num_classes': -1}, 'num_classes=-1 must be at least 0'),
  ({'name': 'efficientnet_b0', 'attention': {'where': 'stages'}}, 'name one or more of the stages'),
  ({'name': 'efficientnet_b0', 'attention': {'stages': (8,), 'where': 'stages'}}, 'stages 1 to 7'),
  ({'name': 'efficientnet_b0', 'attention': {'reduction': 0.0}}, 'reduction=0.0 must be above 0'),
])
def test_bad_input(arguments, text):
  with pytest.raises(UserError) as error:
    create_model(**arguments)
  assert text in str(error.value) and '\n' not in str(error.value)


def test_from_json_of_a_config():
  model = create_from_config(
    {'name': 'efficientnet_b0', 'dropout': None, 'attention': {'kind': 'eca', 'k': [3]}}
  )
  assert model.attention.k == (3,) and model.dropout == 0.2


def test_compound_scaling_is_near_the_published_networks():
  for phi, name in ((1, 'b2'), (2, 'b3'), (4, 'b5')):
    depth, width, resolution = compound_scaling(phi)
    published_width, published_depth, pixels, _ = SCALE[name]
    assert depth == pytest.approx(published_depth, rel=0.1)
    assert width == pytest.approx(published_width, rel=0.1)
    assert 224 * resolution == pytest.approx(pixels, rel=0.2)
  assert compound_scaling(0) == (1, 1, 1)
  # Eq. 3: twice the operations for each phi.
  assert pytest.approx(2, rel=0.05) == 1.2 * 1.1**2 * 1.15**2


@pytest.mark.parametrize(('channels', 'rounded'), [
  (32 * 1.1, 32), (16 * 1.2, 24), (24 * 1.4, 32), (40 * 1.6, 64), (1280 * 2.0, 2560), (3, 8),
])
def test_round_channels(channels, rounded):
  assert round_channels(channels) == rounded


def test_drop_path_rises_and_spares_the_first_block():
  model = create_model('tiny_efficientnet', drop_path=0.4)
  rates = [0.4 * i / 4 for i in range(4)]
  assert len(list(model.blocks())) == 4 and rates[0] == 0 and max(rates) == pytest.approx(0.3)
  variables = jax.jit(lambda k: model.init(k, jnp.zeros((2, 32, 32, 3)), train=False))(
    jax.random.key(0)
  )
  image = jnp.asarray(np.random.RandomState(0).randn(2, 32, 32, 3), jnp.float32)
  forward = jax.jit(
    lambda key: model.apply(variables, image, train=True, mutable=['batch_stats'],
                            rngs={'dropout': key})[0]
  )
  a, b = forward(jax.random.key(1)), forward(jax.random.key(1))
  np.testing.assert_array_equal(a, b)
  assert not np.array_equal(a, forward(jax.random.key(2)))
