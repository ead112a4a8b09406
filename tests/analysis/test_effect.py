"""Changed attention against kernels that contain it, and measures of importance."""

import jax
import numpy as np
import pytest

from ecanet_jax.analysis.effect import arrays
from ecanet_jax.analysis.effect.change import Change, Score, changed_logits, score
from ecanet_jax.analysis.effect.pruning import (
  ACTIVATION,
  ATTENTION,
  SCALE,
  Pruning,
  batch_norm_scales,
  importance,
  kept,
)
from ecanet_jax.analysis.effect.static import ALL, CONSTANT, REMOVED, StaticAttention, changes_of
from ecanet_jax.export.static_gates import fold_gates, without_gates
from ecanet_jax.models import create_model
from ecanet_jax.models.fold import fold_batch_norm
from ecanet_jax.models.intermediates import attention_views

CLASSES, IMAGES, SIZE = 5, 12, 32


@pytest.fixture(scope='module', params=['eca', 'se'])
def network(request):
  model = create_model('tiny_efficientnet', num_classes=CLASSES, attention={'kind': request.param})
  images = np.random.default_rng(0).normal(size=(IMAGES, SIZE, SIZE, 3)).astype(np.float32)
  variables = jax.jit(lambda key: model.init(key, images[:1], train=False))(jax.random.key(1))
  random = np.random.default_rng(2)
  for norms in variables['params'].values():  # other scales than the initial ones
    for name, norm in norms.items():
      if name.endswith('_bn'):
        norm['scale'] = random.uniform(0.5, 1.5, norm['scale'].shape).astype(np.float32)
  return model, variables, images


def batch(images, labels=None):
  labels = np.zeros(len(images), int) if labels is None else labels
  return {'image': images, 'label': labels, 'mask': np.ones(len(images), bool)}


def channels_of(model):
  return {block.name: model.slot(block).channels for block in model.blocks()}


@pytest.mark.parametrize('backend', ['xla', 'cpu'])
def test_constants_are_what_a_kernel_can_contain(network, backend):
  model, variables, images = network
  random = np.random.default_rng(3)
  gates = {block: random.random(count).astype(np.float32)
           for block, count in channels_of(model).items()}
  changes = changes_of(gates)
  logits = changed_logits(model.clone(backend=backend))
  for kind, constants in ((CONSTANT, gates), (REMOVED, {b: g * 0 + 1 for b, g in gates.items()})):
    each = changes[ALL, kind]
    ours = logits(
      variables, images, {b: c.scale for b, c in each.items()},
      {b: c.shift for b, c in each.items()},
    )
    folded, left = fold_gates(*fold_batch_norm(model, variables), constants)
    with without_gates(left):
      theirs = fold_batch_norm(model, variables)[0].apply(folded, images, train=False)
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def test_a_pruned_channel_is_a_row_of_zeros(network):
  model, variables, images = network
  block = 'blocks_1_0'
  mask = kept(np.arange(channels_of(model)[block]), 0.5)
  assert not mask[: len(mask) // 2].any() and mask[len(mask) // 2 :].all()
  change = Change.kept(mask)
  ours = changed_logits(model)(variables, images, {block: change.scale}, {block: change.shift})
  kernel = variables['params'][block]['project']['kernel']
  params = {**variables['params'], block: {
    **variables['params'][block], 'project': {'kernel': kernel * mask[:, None]}}}
  theirs = model.apply({**variables, 'params': params}, images, train=False)
  np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def test_scores_count_labels_and_answers(network):
  model, variables, images = network
  answers = np.argmax(model.apply(variables, images, train=False), -1)
  labels = np.where(np.arange(IMAGES) < 4, answers, (answers + 1) % CLASSES)
  padded = batch(images, labels)
  padded['mask'][-2:] = False
  counts = channels_of(model)
  nothing = {block: Change.none(count) for block, count in counts.items()}
  zero = {block: Change.constant(np.zeros(count)) for block, count in counts.items()}
  reference, scores = score(
    model, variables, [padded, padded], counts, {'nothing': nothing, 'zero': zero}
  )
  assert reference == scores['nothing'] == Score(8, 20, 20) and reference.top1 == 0.4
  pixels = np.zeros_like(images)
  assert scores['zero'].images == 20 and scores['zero'] != reference
  assert score(model, variables, [batch(pixels)], counts, {})[0].agreement == 1


def test_importance_is_the_output_of_the_attention(network):
  model, variables, images = network
  blocks = list(channels_of(model))
  found = importance(model, variables, [batch(images[:5]), batch(images[5:])], blocks)
  folded, changed = fold_batch_norm(model, variables)
  _, seen = folded.apply(
    changed, images, train=False, capture_intermediates=lambda module, _: module.name == 'attention'
  )
  views = attention_views(model, variables, images)
  for block in blocks:
    (output,) = seen['intermediates'][block]['attention']['__call__']
    np.testing.assert_allclose(
      found[ACTIVATION][block], np.abs(output).mean((0, 1, 2)), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(
      found[ATTENTION][block], views[block]['weights'].mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(
      found[SCALE][block], np.abs(variables['params'][block]['depthwise_bn']['scale']))


def test_no_batch_norm_stands_before_the_attention_of_a_skip():
  model = create_model('tiny_efficientnet', num_classes=2, attention={'position': 'pre'})
  images = np.zeros((1, SIZE, SIZE, 3), np.float32)
  variables = model.init(jax.random.key(0), images, train=False)
  assert batch_norm_scales(model, variables) == {}
  assert SCALE not in importance(model, variables, [batch(images)], ['blocks_1_0'])


def test_arrays_there_and_back():
  scores = Score(1, 2, 3), Score(3, 2, 3)
  static = StaticAttention('runs/a', 'a on b', scores[0], ('blocks_0_0', ALL), scores, scores[::-1])
  pruned = Pruning('runs/a', 'a on b', scores[0], (0.1, 0.2), {'random': (scores, scores)})
  assert arrays.static_from_arrays(arrays.static_to_arrays([static, static])) == [static, static]
  assert arrays.pruning_from_arrays(arrays.pruning_to_arrays([pruned])) == [pruned]
