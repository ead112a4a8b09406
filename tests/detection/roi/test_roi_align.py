"""RoIAlign: both forms against torchvision's, with gradients, and mmdetection's by its formula."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from ecanet_jax.detection.presets import MMDET1, TORCHVISION
from ecanet_jax.detection.roi.levels import roi_levels
from ecanet_jax.detection.roi.roi_align import roi_align
from tests.support import roi_align as reference
from tests.support.detection_boxes import random_boxes
from tests.support.torchvision_detection import use_pure_operators

IMAGE = (256, 320)
METHODS = pytest.mark.parametrize('method', ['gather', 'dense', 'kernel'])
RANDOM = np.random.default_rng(0)
FEATURES = tuple(
  RANDOM.normal(size=(IMAGE[0] // stride, IMAGE[1] // stride, 3)).astype(np.float32)
  for stride in (4, 8, 16, 32))
# Of all levels; at the border; the whole image; without area.
BOXES = np.concatenate([
  random_boxes(RANDOM, 24, *IMAGE, most=1.0),
  np.float32([[0, 0, 20, 30], [300, 226, 320, 256], [0, 0, 320, 256], [50, 60, 50, 60],
              [0, 0, 112, 112], [7, 9, 231, 233]])])
SIZE = 7


@functools.partial(jax.jit, static_argnames=('preset', 'method', 'chunk'))
def pooled(features, boxes, preset=TORCHVISION, method='', chunk=128):
  """`kernel` stands for the backend of a CPU."""
  if method == 'kernel':
    return roi_align(features, boxes, SIZE, preset, backend='cpu')
  return roi_align(features, boxes, SIZE, preset, method, chunk)


@pytest.fixture(autouse=True)
def kernels_are_loaded(load_kernels):
  load_kernels('float32')


@functools.cache
def theirs():
  """torchvision's result and the gradient of the sum of its sines."""
  ops = pytest.importorskip('torchvision.ops')
  use_pure_operators()
  features = {str(level): torch.tensor(x.transpose(2, 0, 1)[None], requires_grad=True)
              for level, x in enumerate(FEATURES)}
  pool = ops.MultiScaleRoIAlign(list(features), SIZE, 2)
  out = pool(features, [torch.tensor(BOXES)], [IMAGE])
  torch.sin(out).sum().backward()
  gradient = tuple(x.grad[0].numpy().transpose(1, 2, 0) for x in features.values())
  return out.detach().numpy().transpose(0, 2, 3, 1), gradient


@METHODS
def test_equal_to_torchvision_with_its_gradient(method):
  result, gradient = theirs()
  assert set(np.asarray(roi_levels(BOXES, 4, TORCHVISION))) == {0, 1, 2}
  np.testing.assert_allclose(pooled(FEATURES, BOXES, method=method), result, atol=2e-5)
  ours = jax.grad(lambda x: jnp.sin(pooled(x, BOXES, method=method)).sum())(FEATURES)
  for mine, yours in zip(ours, gradient, strict=True):
    np.testing.assert_allclose(mine, yours, atol=1e-4)


def test_on_large_maps_the_error_is_that_of_torchvision():
  """Positions near 300 cells are rounded by 1e-5 in float32, which the map's slope multiplies."""
  ops = pytest.importorskip('torchvision.ops')
  use_pure_operators()
  random = np.random.default_rng(3)
  features = random.normal(size=(200, 336, 2)).astype(np.float32)
  boxes = random_boxes(random, 24, 800, 1344, least=20, most=1.0)
  exact = reference.roi_align(features, boxes, SIZE, 4, 0.0, 1.0)
  theirs = ops.roi_align(torch.tensor(features.transpose(2, 0, 1)[None]), [torch.tensor(boxes)],
                         SIZE, 1 / 4, 2).numpy().transpose(0, 2, 3, 1)
  ours, theirs = (np.std(x - exact) for x in (pooled((features,), boxes), theirs))
  assert 1e-6 < theirs < 2e-5 and ours < 1.3 * theirs, (ours, theirs)


@METHODS
@pytest.mark.parametrize('preset', [TORCHVISION, MMDET1])
def test_equal_to_the_formula(method, preset):
  """With boxes outside of the image, where the result is 0 beyond a cell."""
  outside = np.float32([[-9, -2, 30, 40], [-90, 10, -40, 60], [300, 240, 340, 290], [9, 9, 5, 5]])
  boxes = np.concatenate([BOXES, outside])
  result = np.asarray(pooled(FEATURES, boxes, preset, method))
  for row, level in enumerate(np.asarray(roi_levels(boxes, 4, preset))):
    expected = reference.roi_align(FEATURES[level], boxes[row : row + 1], SIZE, 4 << level,
                                   preset.pixel, preset.least_roi)
    np.testing.assert_allclose(result[row : row + 1], expected, atol=5e-5)
  assert np.all(result[len(BOXES) + 1] == 0)


@METHODS
def test_chunks_change_nothing(method):
  whole = pooled(FEATURES, BOXES, method=method)
  np.testing.assert_array_equal(pooled(FEATURES, BOXES, method=method, chunk=8), whole)
  gradients = [jax.grad(lambda x, chunk=chunk: jnp.sin(
    pooled(x, BOXES, method=method, chunk=chunk)).sum())(FEATURES) for chunk in (8, 128)]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *gradients)


@METHODS
def test_bfloat16_features_keep_float32_coordinates(method):
  """Above 256 px, bfloat16 counts in steps of 2 px."""
  result = pooled(jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), FEATURES),
                  jnp.asarray(BOXES), method=method)
  assert result.dtype == jnp.bfloat16
  np.testing.assert_allclose(result.astype(np.float32), pooled(FEATURES, BOXES), atol=0.06)


def test_batch():
  features = tuple(np.stack([x, 2 * x]) for x in FEATURES)
  boxes = np.stack([BOXES, BOXES[::-1]])
  both = jax.vmap(pooled)(features, boxes)
  np.testing.assert_allclose(both[1], 2 * np.asarray(pooled(FEATURES, BOXES))[::-1], atol=1e-5)


def test_form_is_chosen_by_the_size_of_the_finest_map():
  """Neither form is in the other's program: only the gathering one reads rows of a table."""
  for rows, name in ((64, 'dense'), (65, 'gather')):
    maps = tuple(jnp.zeros((rows >> level, 64 >> level, 1)) for level in range(4))
    program = str(jax.make_jaxpr(lambda x: roi_align(x, jnp.zeros((1, 4)), 7, TORCHVISION))(maps))
    assert ('concatenate' in program and f'{rows * 64}' in program) == (name == 'gather')


@pytest.mark.parametrize(('side', 'torchvision', 'mmdet1'), [
  (1, 0, 0), (111.9, 0, 0), (112 - 1e-5, 1, 1), (112, 1, 1), (223.9, 1, 1), (224, 2, 2),
  (447.9, 2, 2), (448, 3, 3), (2000, 3, 3), (447.9998, 3, 2),
])
def test_levels(side, torchvision, mmdet1):
  """Exactly at 112, 224 and 448, and just below, where each adds 1e-6 in its own place."""
  for preset, level in ((TORCHVISION, torchvision), (MMDET1, mmdet1)):
    box = np.float32([[0, 0, side - preset.pixel, side - preset.pixel]])
    assert roi_levels(box, 4, preset).tolist() == [level]


def test_levels_equal_torchvision():
  poolers = pytest.importorskip('torchvision.ops.poolers')
  boxes = random_boxes(np.random.default_rng(2), 3000, 800, 1344, most=1.0)
  exact = np.float32([[5, 7, 5 + side, 7 + side] for side in (112, 224, 448, 447.9998)])
  boxes = np.concatenate([boxes, exact])
  levels = poolers.LevelMapper(2, 5)([torch.tensor(boxes)])
  np.testing.assert_array_equal(roi_levels(boxes, 4, TORCHVISION), levels)
  assert len(set(levels.tolist())) == 4
