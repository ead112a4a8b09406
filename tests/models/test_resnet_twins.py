"""ResNets compute what timm's compute, and their files are those of others, key by key."""

import gzip
import json
import pathlib

import pytest
import torch
import torchvision

from ecanet_jax import create_model
from ecanet_jax.models import network
from ecanet_jax.models.resnet import ResNet
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights.convert import entries
from tests.support import twins

FAST = ('resnet18',)
SLOW = (
  'ecaresnet50d', 'resnet50', 'seresnet50', 'ecaresnet26t', 'resnet101', 'ecaresnet50t',
  'ecaresnetlight', 'resnext50_32x4d', 'seresnext50_32x4d', 'legacy_senet154', 'seresnet18',
  'legacy_seresnet50',
)


@pytest.mark.parametrize(
  'name', [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_logits_equal_timms_in_both_directions(name):
  # 50 full branches with random weights add up to logits of 500 and gates so steep that timm
  # itself, in float32, is 7e-4 off what it computes in float64.
  branch = 0.2 if name == 'legacy_senet154' else 1.0
  twins.check_logits(name, size=64, classes=20, dialect=network(name).timm_dialect, branch=branch)


# An odd size tells Caffe's padding of the pooling, and ResNet-D's average at the edge, from others.
@pytest.mark.slow
@pytest.mark.parametrize('name', ['resnet18', 'ecaresnet26t', 'legacy_seresnet50'])
def test_logits_equal_timms_at_an_odd_size(name):
  twins.check_logits(name, size=75, classes=20, dialect=network(name).timm_dialect)


def by_depth(name):
  """The name, marked as slow for a network of more than 20 blocks: tracing it takes seconds."""
  slow = sum(network(name).arguments.get('depths', ())) > 20
  return pytest.param(name, marks=pytest.mark.slow) if slow else name


@pytest.mark.parametrize('name', [by_depth(name) for name in twins.names(ResNet)])
def test_every_record_names_a_timm_network_with_the_same_arrays(name):
  with torch.device('meta'):
    twin = twins.make_twin(name)
  twins.check_arrays(create_model(name), twin, network(name).timm_dialect)


@pytest.mark.parametrize(('name', 'theirs'), [
  ('resnet18', 'resnet18'),
  ('resnet50', 'resnet50'),
  ('resnext50_32x4d', 'resnext50_32x4d'),
  ('mobilenetv2_100', 'mobilenet_v2'),
])
def test_torchvision_has_the_same_arrays(name, theirs):
  with torch.device('meta'):
    twin = getattr(torchvision.models, theirs)(weights=None)
  twins.check_arrays(create_model(name), twin, 'torchvision')


# Keys and shapes of the networks of BangguWu/ECANet, commit b332f6b: name -> [[key, shape], ...].
RELEASED = json.loads(gzip.decompress(
  (pathlib.Path(__file__).parent / 'ecanet_keys.json.gz').read_bytes()
))


@pytest.mark.parametrize('name', [by_depth(name) for name in RELEASED])
def test_the_eca_authors_networks_have_the_same_arrays(name):
  ours = twins.exported_shapes(create_model(name), 'ecanet')
  assert list(ours.items()) == [(key, tuple(shape)) for key, shape in RELEASED[name]]


@pytest.mark.parametrize(('name', 'dialect'), [
  ('seresnet18', 'torchvision'),
  ('seresnet18', 'ecanet'),
  ('eca_resnet18', 'cadene'),
  ('eca_mobilenetv2', 'torchvision'),
])
def test_a_dialect_without_the_attention_says_so(name, dialect):
  with pytest.raises(UserError, match=f'{dialect!r} has no name for params/blocks_0_0/attention'):
    entries(create_model(name), dialect)
