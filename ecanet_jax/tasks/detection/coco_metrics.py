"""COCO's average precision and recall, computed by pycocotools.

The twelve numbers are those of cocodataset.org/#detection-eval. AP is the mean over ten IoUs from
0.50 to 0.95 and over the classes. Small is an area below 32 x 32 pixels, large above 96 x 96.
"""

import contextlib
import io
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ecanet_jax.data.detection import masks
from ecanet_jax.runtime.errors import UserError, lookup

NAMES = (
  'AP', 'AP50', 'AP75', 'AP_small', 'AP_medium', 'AP_large',
  'AR1', 'AR10', 'AR100', 'AR_small', 'AR_medium', 'AR_large',
)
SIZES = ('all', 'small', 'medium', 'large')
KINDS = {'bbox': 'boxes', 'segm': 'masks'}


class Metrics(NamedTuple):
  """The result of an evaluation. What no object tells is NaN.

  Attributes:
    numbers: by their name, `NAMES`.
    per_class: AP of each class by its name, and by `SIZES`.
    images: number of images.
    detections: number of detections.
  """

  numbers: dict[str, float]
  per_class: dict[str, dict[str, float]]
  images: int
  detections: int


def evaluate(ground_truth: dict[str, Any], results: Sequence[dict], kind: str = 'bbox') -> Metrics:
  """Compares detections with the ground truth of all its images, also of those without detections.

  Args:
    ground_truth: the content of a COCO JSON of instances.
    results: entries of a COCO result file; their order among images does not matter.
    kind: 'bbox' or 'segm'. For masks a 'bbox' in the results is ignored.

  Raises:
    UserError: pycocotools is not installed, an unknown kind, or results of unknown images or
      categories.
  """
  lookup(KINDS, kind, 'kind of detections')
  masks.coco_mask()  # says how to install it
  from pycocotools.coco import COCO
  from pycocotools.cocoeval import COCOeval

  _check(ground_truth, results)
  with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
    truth, found = COCO(), COCO()
    # pycocotools writes into the annotations.
    truth.dataset = {**ground_truth, 'annotations': [*map(dict, ground_truth['annotations'])]}
    found.dataset = {**ground_truth, 'annotations': _annotations(results, kind)}
    truth.createIndex()
    found.createIndex()
    evaluator = COCOeval(truth, found, kind)
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
  precision = evaluator.eval['precision']  # [IoU, recall, class, size, most detections]
  names = {entry['id']: entry['name'] for entry in ground_truth['categories']}
  per_class = {
    str(names[number]): {
      size: _mean(precision[:, :, place, column, -1]) for column, size in enumerate(SIZES)
    }
    for place, number in enumerate(evaluator.params.catIds)
  }
  numbers = {name: _known(value) for name, value in zip(NAMES, evaluator.stats)}
  return Metrics(numbers, per_class, len(ground_truth['images']), len(results))


def _annotations(results: Sequence[dict], kind: str) -> list[dict[str, Any]]:
  """The results as annotations, as `COCO.loadRes` makes them; there may be none."""
  annotations = []
  for number, result in enumerate(results, start=1):
    entry = {**result, 'id': number, 'iscrowd': 0}
    if kind == 'bbox':
      entry['area'] = result['bbox'][2] * result['bbox'][3]
    else:
      entry.pop('bbox', None)
      entry['area'] = float(masks.coco_mask().area(result['segmentation']))
    annotations.append(entry)
  return annotations


def _check(ground_truth: dict[str, Any], results: Sequence[dict]) -> None:
  for key, name in (('image_id', 'images'), ('category_id', 'categories')):
    known = {entry['id'] for entry in ground_truth[name]}
    unknown = [result[key] for result in results if result[key] not in known]
    if unknown:
      raise UserError(
        f'{len(unknown):,} of {len(results):,} detections have an unknown {key}, such as '
        f'{unknown[0]}; evaluate them with the COCO JSON of their own {name}'
      )


def _mean(precision: np.ndarray) -> float:
  precision = precision[precision > -1]
  return float(np.mean(precision)) if precision.size else math.nan


def _known(value: float) -> float:
  return math.nan if value < 0 else float(value)


def table(metrics: Metrics) -> str:
  """Returns the AP of each class and of each size as lines of text, with the mean at the end."""
  width = max(5, *(len(name) for name in metrics.per_class))
  rows = [('class', *SIZES)]
  rows += [
    (name, *(_cell(values[size]) for size in SIZES)) for name, values in metrics.per_class.items()
  ]
  numbers = (metrics.numbers[name] for name in ('AP', 'AP_small', 'AP_medium', 'AP_large'))
  rows.append(('mean', *map(_cell, numbers)))
  return '\n'.join(
    f'{row[0]:<{width}}' + ''.join(f'{cell:>8}' for cell in row[1:]) for row in rows
  )


def _cell(value: float) -> str:
  return '-' if math.isnan(value) else f'{value:.3f}'
