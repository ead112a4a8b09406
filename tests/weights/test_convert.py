"""State dicts: exact both ways, and every difference is named."""

import jax
import numpy as np
import pytest

from ecanet_jax import create_model
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import from_torch, to_torch
from ecanet_jax.weights.convert import count_classes
from tests.support.random_variables import random_variables

TINY = create_model('tiny_efficientnet', num_classes=10)


@pytest.fixture
def state():
  return to_torch(TINY, random_variables(TINY))


def assert_same_bytes(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
    assert left.dtype == right.dtype and left.shape == right.shape
    assert left.tobytes() == right.tobytes()


@pytest.mark.parametrize(('name', 'dialects'), [
  ('efficientnet_b0', ['timm', 'torchvision']),
  ('tf_efficientnet_b0', ['timm', 'lukemelas']),
  ('eca_efficientnet_b0', ['timm']),
  ('tf_efficientnet_lite0', ['timm', 'lukemelas']),
  ('mobilenetv2_100', ['timm']),
  ('resnet18', ['timm']),
])
def test_round_trip_is_byte_exact(name, dialects):
  model = create_model(name)
  variables = random_variables(model)
  for dialect in dialects:
    state = to_torch(model, variables, dialect)
    assert all(array.flags.c_contiguous for array in state.values())
    assert_same_bytes(from_torch(model, state, dialect), variables)


def test_counters_are_dropped_and_made_again(state):
  counters = [key for key in state if key.endswith('num_batches_tracked')]
  assert len(counters) == 13
  assert all(state[key].dtype == np.int64 and state[key] == 0 for key in counters)
  bare = {key: array for key, array in state.items() if key not in counters}
  assert_same_bytes(from_torch(TINY, bare), from_torch(TINY, state))


def test_counter_of_no_batch_norm_is_unexpected(state):
  with pytest.raises(UserError, match=r'1 unexpected \(conv_stem.num_batches_tracked\)'):
    from_torch(TINY, {**state, 'conv_stem.num_batches_tracked': np.zeros((), np.int64)})


def test_half_precision_becomes_float32(state):
  half = {key: array.astype(np.float16) for key, array in state.items()}
  assert {leaf.dtype for leaf in jax.tree.leaves(from_torch(TINY, half))} == {np.dtype('float32')}


@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', 'module._orig_mod.'])
def test_prefixes_of_wrappers_are_removed_and_logged(state, prefix, caplog):
  with caplog.at_level('WARNING'):
    wrapped = from_torch(TINY, {prefix + key: array for key, array in state.items()})
  assert_same_bytes(wrapped, from_torch(TINY, state))
  assert f'Removed the prefix {prefix.split(".")[0] + "."!r} from all' in caplog.text


def test_prefix_of_some_keys_is_a_difference(state):
  state['module.conv_stem.weight'] = state.pop('conv_stem.weight')
  with pytest.raises(UserError, match=r'1 missing \(conv_stem.weight\); 1 unexpected \(module'):
    from_torch(TINY, state)


def test_all_three_differences_are_counted_and_named(state):
  del state['bn1.weight'], state['bn1.bias']
  state['extra'] = np.zeros(3)
  state['conv_head.weight'] = np.zeros((4, 24, 1, 1))
  with pytest.raises(
    UserError,
    match=r'has 71 arrays: 2 missing \(bn1.weight, bn1.bias\); 1 unexpected \(extra\); 1 wrong in '
    r'shape \(conv_head.weight \(4, 24, 1, 1\) instead of \(32, 24, 1, 1\)\)\.$',
  ):
    from_torch(TINY, state)


def test_other_class_count_has_a_hint(state):
  with pytest.raises(UserError, match=r'10 classes, the network 7; make .* num_classes=10'):
    from_torch(create_model('tiny_efficientnet', num_classes=7), state)
  assert count_classes(TINY, state) == 10


@pytest.mark.parametrize(('file', 'network'), [('se', 'eca'), ('eca', 'se'), ('none', 'se')])
def test_other_attention_has_a_hint(file, network):
  source = create_model('tiny_efficientnet', num_classes=10, attention=file)
  target = create_model('tiny_efficientnet', num_classes=10, attention=network)
  with pytest.raises(UserError, match=f'Its attention is {file}, the network has {network}'):
    from_torch(target, to_torch(source, random_variables(source)))


def test_other_dialect_has_a_hint():
  model = create_model('tiny_efficientnet', attention='se', preset='tf')
  state = to_torch(model, random_variables(model), 'lukemelas')
  with pytest.raises(UserError, match="keys look like the dialect 'lukemelas', not 'timm'"):
    from_torch(model, state, 'timm')
  with pytest.raises(UserError, match="keys look like the dialect 'lukemelas', not 'timm'"):
    from_torch(model, {f'model.net.{key}': array for key, array in state.items()}, 'timm')


def test_unknown_keys_have_no_hint():
  with pytest.raises(UserError, match=r'71 missing .*1 unexpected \(a\)\.$'):
    from_torch(TINY, {'a': np.zeros(1)})


def test_variables_of_another_network():
  with pytest.raises(UserError, match=r'variables do not fit .*2 wrong in shape \(params/class'):
    to_torch(TINY, random_variables(create_model('tiny_efficientnet', num_classes=7)))
  variables = random_variables(TINY)
  del variables['batch_stats']['stem_bn']
  with pytest.raises(UserError, match=r'2 missing \(batch_stats/stem_bn/mean'):
    to_torch(TINY, variables)
