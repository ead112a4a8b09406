"""The comparison notices what is wrong, and says what it compared with."""

import sys

import numpy as np
import pytest

from ecanet_jax import create_model
from ecanet_jax.models import network
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import to_torch, verify
from ecanet_jax.weights.timm_reference import ReferenceMissing, find_record, timm_logits
from ecanet_jax.weights.verify import compare
from tests.support.random_variables import random_variables

TINY = create_model('tiny_efficientnet', num_classes=10)


def test_without_a_reference_in_pytorch_it_says_so():
  variables = random_variables(TINY)
  result = verify(TINY, variables, to_torch(TINY, variables), image_size=32)
  assert not result.in_pytorch
  assert result.max_abs == result.max_rel == 0 and result.top1_agreement == 1
  assert str(result) == (
    'weaker check, without timm: logits of 2 random images of 32 x 32: max abs difference '
    '0.00e+00, max rel 0.00e+00, same top-1 for 100%; compared with our own network on the '
    'weights read back, not with PyTorch: timm has no such network'
  )


def test_wrong_weights_are_past_the_tolerance():
  state = to_torch(TINY, random_variables(TINY))
  state['blocks.1.1.conv_dw.weight'] = state['blocks.1.1.conv_dw.weight'].swapaxes(2, 3)
  with pytest.raises(UserError, match=r'wrong by more than the tolerance of 0\.0001, nothing is'):
    verify(TINY, random_variables(TINY), state, image_size=32)


def test_logits_that_are_not_finite_fail():
  variables = random_variables(TINY)
  variables['params']['classifier']['bias'][3] = np.nan
  with pytest.raises(UserError, match='wrong by more than the tolerance'):
    verify(TINY, variables, to_torch(TINY, variables), image_size=32)


@pytest.mark.parametrize(('trained', 'compared'), [(16, 32), (48, 48), (224, 96)])
def test_images_are_of_a_size_that_every_network_takes(trained, compared):
  variables = random_variables(TINY)
  result = verify(TINY, variables, to_torch(TINY, variables), image_size=trained)
  assert result.image_size == compared


def test_figures():
  a, b = np.float32([[1, 2], [4, 3]]), np.float32([[1, 2.5], [3, 5]])
  result = compare(a, b, 'b', 32, True)
  assert (result.max_abs, result.max_rel, result.top1_agreement) == (2.0, 0.4, 0.5)
  assert compare(0 * a, 0 * a, 'b', 32, True).max_rel == 0


@pytest.mark.parametrize('module', ['torch', 'timm'])
def test_absent_package_is_the_reason(monkeypatch, module):
  monkeypatch.setitem(sys.modules, module, None)
  with pytest.raises(ReferenceMissing, match='PyTorch with timm cannot be imported: .*' + module):
    model, images = create_model('efficientnet_b0'), np.zeros((1, 32, 32, 3), np.float32)
    timm_logits(model, network('efficientnet_b0'), {}, images)


def test_overrides_can_make_a_network_that_timm_has():
  assert find_record(create_model('efficientnet_b0', attention='eca', dropout=0.1)).name == (
    'eca_efficientnet_b0'
  )
  lite = create_model('efficientnet_lite0', preset='tf')
  assert find_record(lite).timm == 'tf_efficientnet_lite0'
  skip = find_record(create_model('efficientnet_b0', attention={'where': 'skip'}))
  assert skip.name == 'b0_nose_noskip'
  assert find_record(create_model('efficientnet_b0', attention={'where': 'last'})) is None
  assert find_record(TINY).name == 'tiny_efficientnet'
