"""Mixup and cutmix against timm's Mixup in batch mode, and their part in the training step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import timm.data.mixup as timm_mixup
import torch
from scipy import stats
from timm.loss import SoftTargetCrossEntropy

from ecanet_jax.config import schema
from ecanet_jax.data.augmentation.device import mixing
from ecanet_jax.runtime import sharding
from ecanet_jax.tasks.classification import Classification


def settings(**mix):
  config = schema.get_config()
  config.mix.update(mix)
  return config


def batch(count=8, size=12):
  random = np.random.RandomState(0)
  return {
    'image': random.randint(0, 256, (count, size, size, 3)).astype(np.uint8),
    'label': random.randint(0, 5, count).astype(np.int32),
  }


def test_off_is_the_default():
  before = batch()
  assert Classification(schema.get_config()).mix(before, jax.random.key(0)) is before


def test_box_is_timms(monkeypatch):
  random = np.random.RandomState(0)
  for share, down, across in random.uniform(size=(200, 3)).astype(np.float32):
    places = iter((down, across))
    monkeypatch.setattr(
      timm_mixup.np.random, 'randint',
      lambda low, high, size=None, places=places: int(low + (high - low) * next(places)),
    )
    (top, bottom, left, right), corrected = timm_mixup.cutmix_bbox_and_lam((3, 32, 48), share)
    ours = [int(side) for side in mixing.box(share, 32, 48, down, across)]
    assert ours == [top, bottom, left, right]
    area = (ours[1] - ours[0]) * (ours[3] - ours[2])
    assert 1 - area / (32 * 48) == pytest.approx(corrected)


@pytest.mark.parametrize('kind', ['mixup', 'cutmix'])
def test_images_and_loss_are_timms(monkeypatch, kind):
  config = settings(**{f'{kind}_alpha': 0.8})
  config.data.image_size = 12
  before, key = batch(), jax.random.key(3)
  task = Classification(config)
  mixed = jax.jit(task.mix)(before, key)
  share = float(mixed['share'][0])
  assert 0 < share < 1 and set(mixed['share'].tolist()) == {share}

  theirs = timm_mixup.Mixup(0.8, 0.8, num_classes=5, label_smoothing=0.1)
  draw = jax.jit(lambda key: mixing.draw(config.mix, key, 12, 12))
  _, weight = draw(jax.random.fold_in(key, 0))
  rows, columns = np.nonzero(np.asarray(weight) == 0)
  monkeypatch.setattr(theirs, '_params_per_batch', lambda: (share, kind == 'cutmix'))
  if kind == 'cutmix':
    box = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    assert share == pytest.approx(1 - len(rows) / 144)
    monkeypatch.setattr(timm_mixup, 'cutmix_bbox_and_lam', lambda *a, **k: (box, share))
  images = torch.tensor(np.asarray(task.inputs(before)).transpose(0, 3, 1, 2).copy())
  images, targets = theirs(images, torch.tensor(before['label']))
  ours = np.asarray(task.inputs(mixed)).transpose(0, 3, 1, 2)
  np.testing.assert_allclose(ours, images, atol=2e-6)

  outputs = np.random.RandomState(1).normal(size=(8, 5)).astype(np.float32)
  expected = SoftTargetCrossEntropy()(torch.tensor(outputs), targets)
  assert float(task.loss(jnp.array(outputs), mixed)) == pytest.approx(float(expected), rel=1e-5)


def draws(count=4000, **mix):
  """Share, whether pixels are taken from the second image as they are, and the weights' mean."""
  config = settings(**mix)
  keys = jax.random.split(jax.random.key(1), count)
  share, weight = jax.jit(jax.vmap(lambda key: mixing.draw(config.mix, key, 32, 32)))(keys)
  share, weight = np.asarray(share), np.asarray(weight)
  cut = (weight == 0).any((1, 2)) | (weight == 1).all((1, 2))
  np.testing.assert_allclose(weight.mean((1, 2)), share, atol=1e-5)  # the corrected share
  return share, cut


@pytest.mark.parametrize('alpha', [pytest.param(0.2, marks=pytest.mark.slow), 1.0])
def test_share_of_mixup_is_beta(alpha):
  share, _ = draws(mixup_alpha=alpha)
  assert stats.kstest(share, stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_share_of_cutmix_is_timms():
  share, cut = draws(cutmix_alpha=1.0)
  assert cut.all()
  np.random.seed(0)
  theirs = timm_mixup.Mixup(0.0, 1.0)
  reference = [
    timm_mixup.cutmix_bbox_and_lam((3, 32, 32), theirs._params_per_batch()[0])[1]
    for _ in range(4000)
  ]
  assert stats.ks_2samp(share, reference).pvalue > 1e-3


def test_switching():
  share, cut = draws(mixup_alpha=1.0, cutmix_alpha=1.0, switch_prob=0.3)
  assert abs(cut.mean() - 0.3) < 0.04
  share, _ = draws(mixup_alpha=1.0, cutmix_alpha=1.0, prob=0.25)
  assert abs((share < 1).mean() - 0.25) < 0.04  # a small box has no pixel: not counted


@pytest.mark.slow
def test_number_of_devices_does_not_matter():
  config = settings(mixup_alpha=0.2, cutmix_alpha=1.0)
  config.augment.erasing, config.augment.erasing_mode = 0.5, 'pixel'
  task, before = Classification(config), batch(16)
  results = []
  for devices in (1, 8):
    mesh = sharding.make_mesh(devices)
    mix = jax.jit(task.mix, in_shardings=(sharding.by_image(mesh), sharding.replicated(mesh)))
    results.append(jax.device_get(mix(sharding.put_batch(before, mesh), jax.random.key(0))))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), *results)


COMMAND = (
  'train.py', '--config=configs/smoke.py', '--config.batch_size=32', '--config.data.image_size=16',
  '--config.log_steps=1', '--config.eval_epochs=0', '--config.mix.mixup_alpha=0.2',
  '--config.mix.cutmix_alpha=1.0', '--config.augment.erasing=0.5',
  '--config.augment.erasing_mode=pixel',
)


@pytest.mark.slow
def test_training_that_mixes_is_stateless(run, tmp_path):
  """Stopped and continued, resident, and on 8 devices: the same losses."""
  from tests.support.runs import arrays, losses

  whole, parts = tmp_path / 'whole', tmp_path / 'parts'
  constant = ('--config.schedule.name=constant',)
  run(*COMMAND, *constant, '--config.epochs=2', f'--workdir={whole}')
  for epochs in (1, 2):
    run(*COMMAND, *constant, f'--config.epochs={epochs}', f'--workdir={parts}')
  assert losses(parts) == losses(whole)
  left, right = arrays(parts), arrays(whole)
  assert all(np.array_equal(left[key], right[key]) for key in right)
  for name, more, devices in (
    ('resident', ('--config.data.resident=True',), 1), ('eight', (), 8)
  ):
    run(*COMMAND, *constant, *more, '--config.epochs=2', f'--workdir={tmp_path / name}',
        devices=devices)
    found = losses(tmp_path / name)
    for step, loss in losses(whole).items():
      assert found[step] == pytest.approx(loss, rel=1e-5)
  run(*COMMAND, *constant, '--config.epochs=2', '--config.mix.prob=0', '--config.augment.erasing=0',
      f'--workdir={tmp_path / "off"}')
  assert losses(tmp_path / 'off') != losses(whole)
