"""Detectors on one and on eight devices: the same random samples, losses and gradients."""

import collections
import functools

import jax
import numpy as np
import pytest

from ecanet_jax.detection.from_config import make_network
from ecanet_jax.detection.networks import faster_rcnn
from ecanet_jax.detection.targets import rois
from ecanet_jax.runtime import sharding
from tests.support import small_detector

pytestmark = pytest.mark.slow

WithRows = collections.namedtuple('WithRows', (*rois.RoITargets._fields, 'rows'))


def with_rows(*arguments):
  """`roi_targets`, with the rows of the proposals and the ground truth that were drawn."""
  drawn = []
  draw = rois.sample
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(rois, 'sample', lambda *inputs: drawn.append(draw(*inputs)) or drawn[-1])
    targets = rois.roi_targets(*arguments)
  return WithRows(*targets, drawn[0].index)


def losses_samples_and_gradients(training, batch, devices):
  """What a step on some devices computes.

  Returns:
    The losses, the targets that were drawn, and the gradients of all parameters.
  """
  task, mesh = training.task, sharding.make_mesh(devices)
  model = make_network(training.config, training.config.model.num_classes, mesh)
  seen = {}

  def recording(name):
    losses = getattr(faster_rcnn, name)
    return lambda logits, deltas, targets, preset: (
      seen.update({name: targets}) or losses(logits, deltas, targets, preset))

  def loss_of(params, batch_stats, batch):
    apply = functools.partial(
      model.apply, {'params': params, 'batch_stats': batch_stats}, mutable=['batch_stats'])
    outputs, _ = task.training_outputs(apply, batch, jax.random.key(5))
    return task.loss(outputs, batch), (outputs, dict(seen))

  everywhere, by_image = sharding.replicated(mesh), sharding.by_image(mesh)
  step = jax.jit(
    jax.value_and_grad(loss_of, has_aux=True), in_shardings=(everywhere, everywhere, by_image),
    out_shardings=everywhere)
  variables = jax.device_get(training.state.variables)
  with pytest.MonkeyPatch.context() as patch:
    for name in ('rpn_losses', 'box_head_losses'):
      patch.setattr(faster_rcnn, name, recording(name))
    patch.setattr(faster_rcnn, 'roi_targets', with_rows)
    (_, (losses, targets)), gradients = step(
      variables['params'], variables['batch_stats'], sharding.put_batch(batch, mesh))
  return jax.device_get((losses, targets, gradients))


def test_samples_losses_and_gradients_of_eight_devices():
  """The rows drawn are equal integers; what is computed from them agrees to rounding."""
  config = small_detector.configured(**{'model.detector.roi_samples': 16})
  training = small_detector.Training(config)
  batch = next(training.dataset.train(0, 1))
  assert len(batch['image']) == 8  # one image a device
  (losses, targets, gradients), (other_losses, other_targets, other_gradients) = (
    losses_samples_and_gradients(training, batch, devices) for devices in (1, 8))

  anchors, others = (each['rpn_losses'].samples for each in (targets, other_targets))
  for name in ('index', 'valid', 'positive'):
    np.testing.assert_array_equal(getattr(anchors, name), getattr(others, name), err_msg=name)
  drawn, others = (each['box_head_losses'] for each in (targets, other_targets))
  for name in ('rows', 'valid', 'positive', 'labels', 'matched'):
    np.testing.assert_array_equal(getattr(drawn, name), getattr(others, name), err_msg=name)
  np.testing.assert_allclose(drawn.boxes, others.boxes, rtol=0, atol=1e-3)
  for samples in (anchors, drawn):  # there was something to draw, of both kinds, in every image
    assert samples.positive.any(axis=1).all()
    assert (samples.valid & ~samples.positive).any(axis=1).all()

  assert set(losses) == {'objectness', 'rpn_box', 'classification', 'box', 'mask'}
  for name, value in losses.items():
    np.testing.assert_allclose(other_losses[name], value, rtol=1e-5, err_msg=name)
  for (path, value), other in zip(
    jax.tree.leaves_with_path(gradients), jax.tree.leaves(other_gradients), strict=True):
    difference = np.abs(other - value).max() / max(np.abs(value).max(), 1e-6)
    assert difference < 1e-4, (jax.tree_util.keystr(path), difference)
