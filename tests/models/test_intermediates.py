"""Stage features and attention views against timm's; they cost nothing unless asked for."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from ecanet_jax import create_model
from ecanet_jax.models.intermediates import attention_views, stage_features
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import to_torch
from tests.support.random_variables import random_variables

timm = pytest.importorskip('timm')
QUICK = {'xla_backend_optimization_level': 0}


def images(size=64, batch=1):
  return np.random.default_rng(1).normal(size=(batch, size, size, 3)).astype(np.float32)


@pytest.mark.parametrize(('name', 'theirs'), [
  ('efficientnet_b0', {}),
  ('resnet50', {}),
])
def test_stage_features_equal_timms(name, theirs):
  model = create_model(name)
  variables, x = random_variables(model), images()
  twin = timm.create_model(name, features_only=True, out_indices=(1, 2, 3, 4), **theirs).eval()
  state = {k: torch.from_numpy(v) for k, v in to_torch(model, variables).items()}
  missing = twin.load_state_dict(state, strict=False).missing_keys
  assert not missing
  ours = jax.jit(lambda v, x: stage_features(model, v, x), compiler_options=QUICK)(variables, x)
  with torch.no_grad():
    expected = twin(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
  assert list(ours) == [4, 8, 16, 32] == twin.feature_info.reduction()
  for feature, reference in zip(ours.values(), expected, strict=True):
    reference = reference.numpy().transpose(0, 2, 3, 1)
    assert feature.shape == reference.shape
    assert np.abs(feature - reference).max() <= 1e-5 * np.abs(reference).max()


# Pixels of the four features, of networks as different as can be: nothing is computed.
@pytest.mark.parametrize(('name', 'size', 'pixels', 'channels'), [
  ('mec_c_e3', 224, (56, 28, 14, 7), (48, 80, 224, 320)),
  ('b0_compact', 224, (56, 28, 14, 7), (24, 40, 112, 320)),
  ('eca_mobilenetv2_k13', 224, (56, 28, 14, 7), (24, 32, 96, 320)),
  ('resnet18', 224, (56, 28, 14, 7), (64, 128, 256, 512)),
  ('vgg16_bn', 224, (56, 28, 14, 7), (128, 256, 512, 512)),
  ('bn_inception', 224, (56, 28, 14, 7), (192, 320, 608, 1024)),
  ('inception_resnet_v2', 299, (71, 35, 17, 8), (192, 320, 1088, 2080)),
])
def test_every_family_has_stage_features(name, size, pixels, channels):
  model = create_model(name)

  def features():
    x = jnp.zeros((1, size, size, 3))
    return stage_features(model, model.init(jax.random.key(0), x, train=False), x)

  shapes = {stride: feature.shape for stride, feature in jax.eval_shape(features).items()}
  expected = {
    s: (1, p, p, c) for s, p, c in zip((4, 8, 16, 32), pixels, channels, strict=True)
  }
  assert shapes == expected


def test_attention_weights_equal_timms():
  model = create_model('eca_efficientnet_b0', num_classes=10)
  variables, x = random_variables(model), images()
  twin = timm.create_model('efficientnet_b0', se_layer='eca', num_classes=10).eval()
  twin.load_state_dict({k: torch.from_numpy(v) for k, v in to_torch(model, variables).items()})
  seen = {}

  def keep(module, inputs, output):
    seen['squeeze'] = inputs[0].mean((2, 3))
    seen['weights'] = (output / inputs[0]).nanmedian(-1).values.nanmedian(-1).values

  twin.blocks[3][1].se.register_forward_hook(keep)
  with torch.no_grad():
    twin(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
  view = jax.jit(
    lambda v, x: attention_views(model, v, x, ['blocks_3_1']), compiler_options=QUICK
  )(variables, x)['blocks_3_1']
  np.testing.assert_allclose(view['squeeze'][:, 0, 0], seen['squeeze'], rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(view['weights'][:, 0, 0], seen['weights'], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', ['tiny_efficientnet', 'tiny_resnet'])
def test_a_program_that_does_not_ask_pays_nothing(name, monkeypatch):
  model = create_model(name, num_classes=10)
  variables, x = random_variables(model), images(32, 2)

  def operations(train):
    def run(variables, x):
      rngs = {'dropout': jax.random.key(0)}
      return model.apply(variables, x, train=train, rngs=rngs, mutable=['batch_stats'])

    lowered = jax.jit(run).lower(variables, x)
    return lowered.compile(QUICK).as_text().count(' = ')

  ours = {train: operations(train) for train in (False, True)}
  monkeypatch.setattr(nn.Module, 'sow', lambda *args, **kwargs: False)
  jax.clear_caches()
  assert {train: operations(train) for train in (False, True)} == ours


def test_views_by_block_and_kind():
  x = jnp.asarray(images(32, 2))
  model = create_model('tiny_efficientnet', attention={'kind': 'se', 'where': 'skip'})
  variables = random_variables(model)
  views = jax.jit(lambda v, x: attention_views(model, v, x), compiler_options=QUICK)(variables, x)
  assert list(views) == ['blocks_0_0', 'blocks_1_1']
  assert views['blocks_1_1']['weights'].shape == (2, 1, 1, 48)
  with pytest.raises(UserError, match=r"in a block 'blocks_1_0'. .*: blocks_0_0, blocks_1_1\."):
    jax.eval_shape(lambda v, x: attention_views(model, v, x, ['blocks_1_0']), variables, x)
