"""The shapes with which steps are compiled are those of the data."""

import jax
import pytest

from ecanet_jax.aot.batch import detection_batch
from ecanet_jax.tasks.choice import open_data
from tests.support import small_detector


@pytest.mark.parametrize(('step', 'masks'), [
  ('train', 'crops'), ('train', 'bitmaps'), ('train', 'none'), ('eval', 'none'),
])
def test_detection_batch(step, masks):
  with_masks = masks != 'none'
  changes = {'detection.masks': masks} if with_masks else {'model.name': 'faster_rcnn_r50_fpn'}
  config = small_detector.configured(**changes)
  dataset = open_data(config)
  batch = next(dataset.train(0, 1) if step == 'train' else dataset.eval()[0])
  shapes, size = detection_batch(config, step, with_masks)
  described = jax.tree.map(lambda array: (array.shape, array.dtype), batch)
  assert described == {name: (each.shape, each.dtype) for name, each in shapes.items()}
  assert size == (64, 64)
