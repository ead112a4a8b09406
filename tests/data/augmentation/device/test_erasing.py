"""Random erasing against timm's RandomErasing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import timm.data.random_erasing as timm_erasing
import torch

from ecanet_jax.config import schema
from ecanet_jax.data.augmentation.device import erasing

MEAN, STD = jnp.array([0.485, 0.456, 0.406]), jnp.array([0.229, 0.224, 0.225])


def settings(**augment):
  config = schema.get_config()
  config.augment.update(augment)
  return config.augment


class Drawn:
  """Python's `random` for timm: gives the numbers of one image, float32 [attempts, 4], in turn."""

  def __init__(self, values):
    self.values, self.drawn, self.places = values, 0, iter((2, 3))

  def random(self):
    return 0.0

  def uniform(self, low, high):
    attempt, column = divmod(self.drawn, 2)
    self.drawn += 1
    return low + (high - low) * float(self.values[attempt, column])

  def randint(self, low, high):
    return int((high + 1) * self.values[(self.drawn - 1) // 2, next(self.places)])


@pytest.mark.parametrize('area', [(0.02, 1 / 3), (0.5, 1.0)])
def test_boxes_are_timms(monkeypatch, area):
  """The same attempts for the same uniform numbers; with large areas some have no box at all."""
  values = np.random.RandomState(0).uniform(size=(300, erasing.ATTEMPTS, 4)).astype(np.float32)
  ours = np.stack(erasing.boxes(jnp.array(values), 32, 40, area, (0.3, 1 / 0.3)), 1)
  theirs = timm_erasing.RandomErasing(1.0, *area, device='cpu')
  none = 0
  for attempts, found in zip(values, ours):
    monkeypatch.setattr(timm_erasing, 'random', Drawn(attempts))
    rows, columns = (theirs(torch.ones(3, 32, 40))[0] == 0).nonzero().numpy().T
    if len(rows):
      expected = [rows.min(), columns.min(), np.ptp(rows) + 1, np.ptp(columns) + 1]
      assert found.tolist() == [int(side) for side in expected]
    else:
      none += 1
      assert found[2:].tolist() == [0, 0]
  assert (none > 0) == (area[1] == 1)


@pytest.mark.parametrize('mode', erasing.MODES)
def test_what_is_erased(mode):
  image = np.full((400, 16, 20, 3), 7, np.uint8)
  before = {'image': image, 'label': np.zeros(400, np.int32)}
  erase = functools.partial(
    erasing.erase, settings=settings(erasing=0.25, erasing_mode=mode), mean=MEAN, std=STD
  )
  after = jax.jit(erase)(before, key=jax.random.key(0))
  np.testing.assert_array_equal(after['label'], before['label'])
  assert after['image'].dtype == jnp.float32
  changed = np.asarray(after['image']) != 7
  assert abs(changed.any((1, 2, 3)).mean() - 0.25) < 0.07
  np.testing.assert_array_equal(changed.any(-1), changed.all(-1))
  for one in changed[changed.any((1, 2, 3))][..., 0]:
    rows, columns = np.nonzero(one)
    assert one.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)  # a rectangle
    assert 0.01 < one.mean() < 0.4
  normal = (np.asarray(after['image']) / 255 - np.asarray(MEAN)) / np.asarray(STD)
  values = normal[changed].reshape(-1, 3)
  if mode == 'const':
    np.testing.assert_allclose(values, 0, atol=1e-6)
    return
  if mode == 'rand':
    values = np.unique(values.round(4), axis=0)
    assert len(values) == changed.any((1, 2, 3)).sum()
  tolerance = 0.3 if mode == 'rand' else 0.05
  np.testing.assert_allclose(values.mean(0), 0, atol=tolerance)
  np.testing.assert_allclose(values.std(0), 1, atol=tolerance)
