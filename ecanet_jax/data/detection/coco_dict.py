"""Writes images and what is on them as COCO does: a JSON of instances and a folder of PNG files."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ecanet_jax.data.detection import masks
from ecanet_jax.data.detection.annotations import DetectionSplit, Instances
from ecanet_jax.runtime import paths


def build(split: DetectionSplit, files: Sequence[str]) -> dict[str, Any]:
  """Returns the content of a COCO JSON of instances.

  Args:
    split: the images.
    files: their file names.
  """
  return _content(split, files, [split.load(index)[1] for index in range(len(files))])


def write(split: DetectionSplit, folder: paths.Path) -> paths.Path:
  """Writes `instances.json` and `images/000000.png`, ... and returns the path of the JSON."""
  (folder / 'images').mkdir(parents=True, exist_ok=True)
  files, found = [], []
  for index, number in enumerate(split.ids):
    image, instances = split.load(index)
    files.append(f'{number:06d}.png')
    Image.fromarray(image).save(folder / 'images' / files[-1])
    found.append(instances)
  file = folder / 'instances.json'
  file.write_text(json.dumps(_content(split, files, found)))
  return file


def _content(
  split: DetectionSplit, files: Sequence[str], found: Sequence[Instances]
) -> dict[str, Any]:
  annotations = []
  for number, (height, width), instances in zip(split.ids, split.sizes, found):
    for place, (box, label) in enumerate(zip(instances.boxes, instances.labels)):
      x1, y1, x2, y2 = map(float, box)
      entry = {
        'id': len(annotations) + 1, 'image_id': int(number),
        'category_id': split.categories[label].id, 'bbox': [x1, y1, x2 - x1, y2 - y1],
        'area': (x2 - x1) * (y2 - y1), 'iscrowd': 0,
      }
      if instances.segmentations:
        entry['segmentation'] = instances.segmentations[place]
        mask = masks.bitmap(entry['segmentation'], int(height), int(width))
        entry['area'] = float(np.sum(mask))
      annotations.append(entry)
  return {
    'images': [
      {'id': int(number), 'file_name': file, 'height': int(height), 'width': int(width)}
      for number, file, (height, width) in zip(split.ids, files, split.sizes)
    ],
    'categories': [category._asdict() for category in split.categories],
    'annotations': annotations,
  }
