"""Test-time augmentation: which views there are, and that their logits are averaged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax.evaluation.tta import VIEWS, mean_logits, views
from ecanet_jax.runtime.errors import UserError

WEIGHTS = np.random.RandomState(0).randn(4 * 6 * 3, 5).astype(np.float32)


def apply(images):
  """Not linear, so that the mean of logits is not the logits of a mean."""
  return jnp.tanh(images.reshape(len(images), -1) @ WEIGHTS)


@pytest.mark.parametrize(('name', 'crops', 'count'), [
  ('none', 1, 1), ('flip', 1, 2), ('five', 5, 5), ('ten', 5, 10)
])
def test_the_mean_of_the_logits(name, crops, count):
  seen = views(name)
  assert (seen.crops, seen.count) == (crops, count)
  shape = (3, 4, 6, 3) if crops == 1 else (3, crops, 4, 6, 3)
  images = np.random.RandomState(1).rand(*shape).astype(np.float32)
  singles = list(np.moveaxis(images.reshape(3, crops, 4, 6, 3), 1, 0))
  if name in ('flip', 'ten'):
    singles += [np.flip(image, 2) for image in singles]
  assert len(singles) == count
  expected = np.mean([apply(image) for image in singles], axis=0)
  found = jax.jit(lambda x: mean_logits(apply, x, seen))(images)
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_unknown():
  with pytest.raises(UserError, match=(
    r"unknown test-time augmentation \(--tta\) 'tenn'. Did you mean 'ten'\? "
    'Known: five, flip, none, ten'
  )):
    views('tenn')
  assert set(VIEWS) == {'none', 'flip', 'five', 'ten'}
