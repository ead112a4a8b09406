"""EfficientNet computes what timm's EfficientNet computes, on the same random weights."""

import pytest
import torch

from ecanet_jax import create_model
from ecanet_jax.models.efficientnet import EfficientNet
from ecanet_jax.models.mobilenetv2 import MobileNetV2
from tests.support import twins

FAST = ('efficientnet_b0', 'eca_efficientnet_b0', 'tf_efficientnet_b0', 'tf_efficientnet_lite0')
SLOW = [name for name in twins.names(EfficientNet, MobileNetV2) if name not in FAST]


# An odd size tells TensorFlow's padding from PyTorch's in every stage, an even one in the stem.
@pytest.mark.parametrize(
  ('name', 'size'),
  [('eca_efficientnet_b0', 224)]
  + [(name, 64) for name in FAST]
  + [('tf_efficientnet_b0', 65)]
  + [pytest.param(name, size, marks=pytest.mark.slow) for name in FAST for size in (225, 224)]
  + [pytest.param(name, 64, marks=pytest.mark.slow) for name in SLOW],
)
def test_logits_equal_timms_in_both_directions(name, size):
  twins.check_logits(name, size, classes=50)


def by_size(name):
  """The name, marked as slow for a large network: tracing and copying it takes seconds."""
  large = any(size in name for size in ('b4', 'b5', 'b6', 'b7'))
  return pytest.param(name, marks=pytest.mark.slow) if large else name


@pytest.mark.parametrize('name', [by_size(n) for n in twins.names(EfficientNet, MobileNetV2)])
def test_every_record_names_a_timm_network_with_the_same_arrays(name):
  with torch.device('meta'):
    twin = twins.make_twin(name)
  twins.check_arrays(create_model(name), twin)
