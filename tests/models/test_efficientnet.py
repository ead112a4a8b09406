"""Published parameter counts, places of attention, names of parameters: nothing is allocated."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax import create_model, list_models
from ecanet_jax.cli.summary import count, trace
from ecanet_jax.errors import UserError
from ecanet_jax.models import create_from_config, network
from tests.models import golden


def attention(name, **overrides):
  """Attention's parameters by block, where there are any."""
  params = trace(create_model(name, **overrides), 224)['params']
  return {block: tree['attention'] for block, tree in params.items() if 'attention' in tree}


@pytest.mark.parametrize(('name', 'parameters'), [
  ('efficientnet_b0', 5_288_548),
  ('tf_efficientnet_b0', 5_288_548),
  ('eca_efficientnet_b0', 4_652_084),
  ('tf_eca_efficientnet_b0', 4_652_084),
  ('efficientnet_b0_noattention', 4_652_008),
  ('efficientnet_lite0', 4_652_008),
  ('tf_efficientnet_lite0', 4_652_008),
])
def test_published_counts(name, parameters):
  assert count(trace(create_model(name), 224)['params']) == parameters
  assert network(name).parameters == parameters


def test_kernel_sizes_of_eca():
  sizes = [tree['kernel'].shape[0] for tree in attention('eca_efficientnet_b0').values()]
  assert sizes == [3, 3] + [5] * 14


# SE repositioned or removed (slides 'Practical analysis' of EfficientNet): exact counts.
@pytest.mark.parametrize(('where', 'position', 'parameters'), [
  ('noskip', 'end', None),
  ('skip', 'depthwise', 5_110_376),  # noSE@noskip keeps SE in the blocks with a skip
  ('noskip', 'depthwise', 4_830_180),  # noSE@hasskip
  ('all', 'end', 4_778_004),  # SEend@all
])
def test_places(where, position, parameters):
  overrides = {'where': where, 'position': position}
  blocks = attention('efficientnet_b0', attention=overrides)
  skips = {f'blocks_{s}_{b}' for s, b in
           ((1, 1), (2, 1), (3, 1), (3, 2), (4, 1), (4, 2), (5, 1), (5, 2), (5, 3))}
  assert len(blocks) == {'all': 16, 'skip': 9, 'noskip': 7}[where]
  assert where == 'all' or (set(blocks) <= skips) == (where == 'skip')
  if parameters:
    model = create_model('efficientnet_b0', attention=overrides)
    assert count(trace(model, 224)['params']) == parameters


def test_stages_and_kernel_sizes_by_stage():
  blocks = attention(
    'eca_efficientnet_b0',
    attention={'where': 'stages', 'stages': (2, 7), 'k': (1, 3, 5, 7, 9, 11, 13)},
  )
  assert {name: tree['kernel'].shape[0] for name, tree in blocks.items()} == {
    'blocks_1_0': 3, 'blocks_1_1': 3, 'blocks_6_0': 13
  }


def test_lists_by_pattern():
  assert list_models('*eca*') == ['eca_efficientnet_b0', 'tf_eca_efficientnet_b0']
  assert 'tiny_efficientnet' in list_models()


@pytest.mark.parametrize(('arguments', 'text'), [
  ({'name': 'eca_b0'}, "unknown model 'eca_b0'. "),
  ({'name': 'efficientnet_b0', 'attentoin': 'eca'}, "has no field 'attentoin'. Did you mean 'att"),
  ({'name': 'efficientnet_b0', 'attention': {'knd': 'se'}}, "no field 'knd'. Did you mean 'kind'"),
  ({'name': 'efficientnet_b0', 'preset': 'pytorch'}, "'pytorch'. Did you mean 'torch'"),
  ({'name': 'efficientnet_b0', 'activation': 'swich'}, "Did you mean 'swish'"),
  ({'name': 'efficientnet_b0', 'num_classes': 0}, 'num_classes=0 must be at least 1'),
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


@pytest.mark.parametrize('name', list_models())
def test_parameter_names_are_an_interface(name):
  expected = json.loads((golden.FOLDER / f'{name}.json').read_text())
  assert golden.fingerprint(name) == expected, (
    'the parameter tree changed; if that is meant: python -m tests.models.golden'
  )


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
