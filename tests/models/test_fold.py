"""Folded networks compute the same logits; a BatchNorm that is behind no convolution stays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from ecanet_jax import create_model
from ecanet_jax.models.fold import fold_batch_norm
from ecanet_jax.nn.attention import ATTENTION
from ecanet_jax.runtime.errors import UserError
from tests.support.random_variables import random_variables

# A network of each family, and of the kinds of attention with a BatchNorm of their own.
FAMILIES = {
  'tiny_efficientnet': 32, 'tiny_mec': 32, 'tiny_compact': 32, 'tiny_mobilenetv2': 32,
  'tiny_resnet': 32, 'tiny_vgg': 32, 'tiny_bn_inception': 32, 'tiny_inception_resnet_v2': 75,
}
STAYS = {'cbam': 'attention/spatial_bn', 'gsop': 'attention/row_bn', 'aa': 'conv_2_bn'}
QUICK = (('tiny_resnet', 'gsop'),)
SLOW = [
  *((name, 'se' if name == 'tiny_compact' else None) for name in FAMILIES),
  *(('tiny_resnet', kind) for kind in ('cbam', 'a2', 'aa')),
]
CASES = [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]


def made(name, kind):
  """A small network, random variables, two images."""
  model = create_model(name, num_classes=10, attention=kind)
  size = 64 if kind == 'aa' else FAMILIES[name]
  images = np.random.default_rng(1).normal(size=(2, size, size, 3)).astype(np.float32)
  return model, random_variables(model), images


def logits(model, variables, images):
  run = jax.jit(lambda v, x: model.apply(v, x, train=False))
  return np.asarray(run(variables, images))


@pytest.mark.parametrize(('name', 'kind'), CASES)
def test_same_logits(name, kind):
  model, variables, images = made(name, kind)
  folded, smaller = fold_batch_norm(model, variables)
  expected = logits(model, variables, images)
  assert np.abs(logits(folded, smaller, images) - expected).max() <= 1e-5 * np.abs(expected).max()
  assert {leaf.dtype for leaf in jax.tree.leaves(smaller)} == {np.dtype('float32')}


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'kind'), [*QUICK, *SLOW])
def test_same_logits_in_float64(name, kind, monkeypatch):
  model, variables, images = made(name, kind)
  with jax.enable_x64(True):
    monkeypatch.setattr(jnp, 'float32', jnp.float64)  # what the layers compute in, whatever dtype
    variables, images = jax.tree.map(np.float64, (variables, images))
    model = model.clone(dtype=jnp.float64)
    folded, smaller = fold_batch_norm(model, variables)
    expected = logits(model, variables, images)
    assert expected.dtype == np.float64
    difference = np.abs(logits(folded, smaller, images) - expected).max()
  assert difference <= 1e-10 * np.abs(expected).max()


def left(name, kind):
  """The BatchNorms of the folded network, by the end of their names."""
  model, variables, _ = made(name, kind)
  flat = traverse_util.flatten_dict(fold_batch_norm(model, variables)[1]['batch_stats'], sep='/')
  return {path.split('/', 1)[1].removesuffix('/mean') for path in flat if path.endswith('/mean')}


@pytest.mark.parametrize('name', FAMILIES)
def test_every_batch_norm_of_the_families_is_folded(name):
  assert left(name, None) == set()


@pytest.mark.parametrize('kind', ATTENTION)
def test_only_a_batch_norm_behind_no_convolution_stays(kind):
  assert left('tiny_resnet', kind) == ({STAYS[kind]} if kind in STAYS else set())


def test_folding_twice_is_folding_once():
  model, variables, _ = made('tiny_resnet', 'none')
  folded, smaller = fold_batch_norm(model, variables)
  again, same = fold_batch_norm(folded, smaller)
  assert again is folded and same == smaller


def test_mistakes():
  model, variables, images = made('tiny_resnet', 'none')
  folded, smaller = fold_batch_norm(model, variables)
  with pytest.raises(UserError, match='folded BatchNorm cannot be trained'):
    jax.eval_shape(lambda: folded.apply(smaller, images, train=True, mutable=['batch_stats']))
  _, other, _ = made('tiny_compact', 'se')
  with pytest.raises(UserError, match=r'variables do not fit the network, .* missing'):
    fold_batch_norm(model, other)
