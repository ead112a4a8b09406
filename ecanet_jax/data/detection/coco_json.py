"""Reads a COCO JSON of instances and checks every annotation.

    {"images": [{"id": 7, "file_name": "a.jpg", "height": 480, "width": 640}],
     "categories": [{"id": 1, "name": "cat"}],
     "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [x, y, width, height],
                      "area": 1200, "iscrowd": 0, "segmentation": [[x1, y1, x2, y2, x3, y3]]}]}

`iscrowd`, `area` and, for boxes alone, `segmentation` may be missing. Ids may have gaps. A box may
leave its image by a pixel and is clipped; anything else that is wrong is counted.
"""

import collections
import json
import math
from typing import Any, NamedTuple

import numpy as np

from ecanet_jax.data.detection import masks
from ecanet_jax.data.detection.annotations import Category, Instances
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, one_line
from ecanet_jax.runtime.log import log

TOLERANCE = 1.0  # pixels
SHOWN = 3  # names in a message


class CocoAnnotations(NamedTuple):
  """The content of a file.

  Attributes:
    categories: sorted by id, so that the label is the place.
    ids: of the images, int64 [n].
    sizes: heights and widths, int32 [n, 2].
    files: names of the image files.
    instances: of each image.
    left_out: ids of annotations that are wrong, if some may be.
  """

  categories: tuple[Category, ...]
  ids: np.ndarray
  sizes: np.ndarray
  files: tuple[str, ...]
  instances: tuple[Instances, ...]
  left_out: frozenset[int]


def load(file: paths.Path) -> dict[str, Any]:
  """Returns the content of a COCO JSON.

  Raises:
    UserError: the file cannot be read or is no COCO JSON of instances.
  """
  try:
    with paths.answers(file):
      content = json.loads(file.read_text(encoding='utf-8'))
  except (OSError, ValueError) as error:
    reason = getattr(error, 'strerror', None) or one_line(error)
    raise UserError(f'{file}: the COCO JSON cannot be read: {reason}') from None
  lists = ('images', 'categories', 'annotations')
  for name in lists:
    if not isinstance(content, dict) or not isinstance(content.get(name), list):
      raise UserError(
        f'{file} has no list {name!r}; a COCO JSON of instances has {", ".join(lists)}'
      )
    if not all(isinstance(entry, dict) for entry in content[name]):
      raise UserError(f'{file}: the list {name!r} has entries that are no objects')
  return content


def read(file: paths.Path, *, with_masks: bool, max_boxes: int, max_bad: float) -> CocoAnnotations:
  """Reads a file and checks all of it.

  Args:
    file: the COCO JSON.
    with_masks: every object must have a mask.
    max_boxes: the most objects of an image.
    max_bad: the fraction of the annotations that may be wrong; they are logged and left out.

  Raises:
    UserError: one line that counts and names what is wrong.
  """
  content = load(file)
  images = _by_id(content['images'], ('file_name', 'height', 'width'), 'image', file)
  named = _by_id(content['categories'], ('name',), 'category', file)
  if not images or not named:
    raise UserError(f'{file} has no {"categories" if images else "images"}')
  categories = tuple(Category(number, str(named[number]['name'])) for number in sorted(named))
  labels = {category.id: label for label, category in enumerate(categories)}
  for image in images.values():
    if not all(isinstance(image[side], int) and image[side] >= 1 for side in ('height', 'width')):
      raise UserError(
        f'{file}: image {image["id"]} has {image["height"]} x {image["width"]} pixels'
      )
  if with_masks:
    _require_masks(content['annotations'], file)

  faults: dict[str, list[str]] = collections.defaultdict(list)
  left_out = set()
  found: dict[int, list[tuple]] = {number: [] for number in images}
  for annotation in content['annotations']:
    image = images.get(annotation.get('image_id'))
    fault = _fault(annotation, image, labels, with_masks)
    if fault:
      faults[fault].append(f'{annotation.get("id")} of image {annotation.get("image_id")}')
      left_out.add(annotation.get('id'))
    elif not annotation.get('iscrowd', 0):
      found[image['id']].append(_object(annotation, image, labels, with_masks))
  _report(faults, len(content['annotations']), max_bad, file)
  _check_most(found, max_boxes, file)
  return CocoAnnotations(
    categories,
    np.array(list(images), np.int64),
    np.array([(image['height'], image['width']) for image in images.values()], np.int32),
    tuple(str(image['file_name']) for image in images.values()),
    tuple(map(_instances, found.values())),
    frozenset(left_out),
  )


def _by_id(entries: list, keys: tuple[str, ...], what: str, file) -> dict[int, dict]:
  """The entries by their id, in the order of the file."""
  table = {}
  for place, entry in enumerate(entries):
    for key in ('id', *keys):
      if key not in entry:
        raise UserError(f'{file}: {what} number {place} has no {key!r}')
    if entry['id'] in table:
      raise UserError(f'{file}: the {what} id {entry["id"]} is there twice')
    table[entry['id']] = entry
  return table


def _require_masks(annotations: list, file) -> None:
  without = sum(not entry.get('segmentation') for entry in annotations)
  if annotations and without == len(annotations):
    raise UserError(
      f'{file} has no masks: none of the {without:,} annotations has a segmentation; train a '
      'detector of boxes, such as --config.model.name=faster_rcnn_r50_fpn'
    )


def _fault(annotation: dict, image: dict | None, labels: dict[int, int], with_masks: bool) -> str:
  """What is wrong with an annotation; '' = nothing."""
  if image is None:
    return 'of unknown images'
  if annotation.get('category_id') not in labels:
    return 'of unknown categories'
  box = annotation.get('bbox')
  try:
    x, y, width, height = map(float, box)
  except (TypeError, ValueError):
    return 'with no bbox of four numbers'
  if not all(map(math.isfinite, (x, y, width, height))):
    return 'with a bbox that is not finite'
  if width < 0 or height < 0:
    return 'with an inverted bbox (it is x, y, width, height)'
  if width == 0 or height == 0:
    return 'with an empty bbox'
  if (min(x, y) < -TOLERANCE or x + width > image['width'] + TOLERANCE
      or y + height > image['height'] + TOLERANCE):
    return 'with a bbox outside of the image (it is x, y, width, height)'
  if min(x + width, image['width']) <= max(x, 0) or min(y + height, image['height']) <= max(y, 0):
    return 'with an empty bbox'
  if with_masks and masks.fault(
    annotation.get('segmentation'), image['height'], image['width']
  ):
    return 'without a mask that is polygons or run lengths'
  return ''


def _object(annotation: dict, image: dict, labels: dict[int, int], with_masks: bool) -> tuple:
  x, y, width, height = annotation['bbox']
  box = (max(x, 0), max(y, 0), min(x + width, image['width']), min(y + height, image['height']))
  segmentation = annotation['segmentation'] if with_masks else None
  return box, labels[annotation['category_id']], segmentation


def _instances(objects: list[tuple]) -> Instances:
  boxes, labels, segmentations = zip(*objects) if objects else ((), (), ())
  return Instances(
    np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int32),
    tuple(segmentations) if segmentations and segmentations[0] is not None else (),
  )


def _report(faults: dict[str, list[str]], count: int, max_bad: float, file) -> None:
  """Raises or logs one line."""
  if not faults:
    return
  bad = sum(map(len, faults.values()))
  parts = [
    f'{len(names):,} {fault}: {", ".join(names[:SHOWN])}{" ..." if len(names) > SHOWN else ""}'
    for fault, names in faults.items()
  ]
  line = f'{file}: {bad:,} of {count:,} annotations are wrong, {"; ".join(parts)}'
  if bad > int(max_bad * count):
    share = math.ceil(1e4 * bad / count) / 1e4
    raise UserError(
      f'{line}. Correct them, or leave them out with --config.data.max_bad={share:g}'
    )
  log.warning('%s. They are left out.', line)


def _check_most(found: dict[int, list], max_boxes: int, file) -> None:
  many = {number: len(objects) for number, objects in found.items() if len(objects) > max_boxes}
  if many:
    worst = max(many, key=many.get)
    raise UserError(
      f'{file}: {len(many):,} images have more than max_boxes={max_boxes} objects, image {worst} '
      f'the most, {many[worst]}; set --config.detection.max_boxes={many[worst]}'
    )
