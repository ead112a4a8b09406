import contextlib
import copy
import io
import json
import math
import pathlib

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ecanet_jax.data.detection import digit_scenes
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.tasks.detection import coco_metrics
from ecanet_jax.tasks.detection.detections import (
  Detections,
  coco_results,
  stored_boxes,
  with_bitmaps,
)
from tests.support import coco_files

GOLDEN = json.loads(
  (pathlib.Path(__file__).parents[2] / 'golden' / 'coco_metrics.json').read_text()
)


@pytest.fixture(scope='module')
def example():
  return coco_files.random_detections()


def chosen(results, kind):
  """The results as a file has them: for masks without bbox."""
  other = 'segmentation' if kind == 'bbox' else 'bbox'
  return [{key: value for key, value in one.items() if key != other} for one in results]


def by_load_res(content, results, kind, coco=COCO, evaluator=COCOeval):
  """The twelve numbers as pycocotools' own reader gives them."""
  with contextlib.redirect_stdout(io.StringIO()):
    truth = coco()
    truth.dataset = copy.deepcopy(content)
    truth.createIndex()
    found = evaluator(truth, truth.loadRes(copy.deepcopy(results)), kind)
    found.evaluate()
    found.accumulate()
    found.summarize()
  return np.array(found.stats[:12], np.float64)


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_twelve_numbers(example, kind):
  content, results = example
  before = copy.deepcopy(content)
  metrics = coco_metrics.evaluate(content, results, kind)
  numbers = np.array([metrics.numbers[name] for name in coco_metrics.NAMES])
  np.testing.assert_allclose(numbers, GOLDEN[kind], rtol=0, atol=1e-12)
  np.testing.assert_array_equal(numbers, by_load_res(content, chosen(results, kind), kind))
  assert content == before
  assert metrics.images == 40 and metrics.detections == len(results)
  overall = [values['all'] for values in metrics.per_class.values()]
  assert list(metrics.per_class) == ['cat', 'dog', 'owl']
  assert np.mean(overall) == pytest.approx(metrics.numbers['AP'], abs=1e-12)
  # The order among images does not matter.
  shuffled = [results[i] for i in np.argsort([-one['image_id'] for one in results], kind='stable')]
  assert coco_metrics.evaluate(content, shuffled, kind).numbers == metrics.numbers


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_a_second_package_agrees(example, kind):
  faster = pytest.importorskip('faster_coco_eval')
  content, results = example
  other = by_load_res(
    content, chosen(results, kind), kind, faster.COCO, faster.COCOeval_faster
  )
  np.testing.assert_allclose(other, GOLDEN[kind], rtol=0, atol=1e-12)


def test_size_of_a_mask_is_its_own_area(example):
  """With 'bbox' in a result, pycocotools would take the size of the object from the box."""
  content, results = example
  metrics = coco_metrics.evaluate(content, results, 'segm')
  numbers = np.array(list(metrics.numbers.values()))
  with_box = by_load_res(content, results, 'segm')
  assert (numbers != with_box).any() and numbers[0] == with_box[0]


@pytest.fixture(scope='module')
def scenes():
  split = digit_scenes.SceneSplit('validation', 3, 12)
  found = []
  for index in range(12):
    scene = digit_scenes.scene('validation', 3, index)
    scores = np.linspace(0.9, 0.5, len(scene.labels))
    one = Detections(index, scene.boxes, scores, scene.labels)
    found.append(with_bitmaps(one, scene.masks))
  return split, found


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_ground_truth_as_detections_is_perfect(scenes, kind):
  split, found = scenes
  truth = split.ground_truth()
  results = coco_results(found, split.categories, kind)
  assert ('bbox' in results[0]) == (kind == 'bbox')
  metrics = coco_metrics.evaluate(truth, results, kind)
  assert metrics.numbers['AP'] == metrics.numbers['AP_small'] == metrics.numbers['AR100'] == 1
  assert math.isnan(metrics.numbers['AP_large'])
  assert '-' in coco_metrics.table(metrics).splitlines()[-1]
  # An image without detections counts.
  part = coco_metrics.evaluate(truth, coco_results(found[1:], split.categories, kind), kind)
  assert part.numbers['AR100'] < 1


def test_no_detections(scenes):
  truth = scenes[0].ground_truth()
  for kind in ('bbox', 'segm'):
    metrics = coco_metrics.evaluate(truth, [], kind)
    assert metrics.numbers['AP'] == 0 and metrics.detections == 0


def test_mistakes(scenes):
  split, found = scenes
  truth, results = split.ground_truth(), coco_results(found, split.categories, 'bbox')
  with pytest.raises(UserError, match="unknown kind of detections 'box'"):
    coco_metrics.evaluate(truth, results, 'box')
  with pytest.raises(UserError, match='1 of 1 detections have an unknown image_id, such as 99'):
    coco_metrics.evaluate(truth, [{**results[0], 'image_id': 99}])
  with pytest.raises(UserError, match='have an unknown category_id, such as 99'):
    coco_metrics.evaluate(truth, [{**results[0], 'category_id': 99}])


def test_boxes_in_pixels_of_the_stored_image():
  boxes = stored_boxes(np.array([[10, 20, 300, 400.0]]), np.array([2.0, 1.5]), 150, 250)
  np.testing.assert_allclose(boxes, [[10 / 1.5, 10, 200, 150]])
