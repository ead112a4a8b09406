"""Small COCO data sets for tests: a JSON with images, and generated detections."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

CATEGORIES = [{'id': 1, 'name': 'cat'}, {'id': 3, 'name': 'dog'}, {'id': 18, 'name': 'owl'}]


def small_content() -> dict[str, Any]:
  """Three images: one with two objects and a crowd, a portrait with one, and one without any."""
  images = [
    {'id': 70, 'file_name': 'a.png', 'height': 40, 'width': 60},
    {'id': 5, 'file_name': 'b.png', 'height': 64, 'width': 48},
    {'id': 9, 'file_name': 'c.png', 'height': 40, 'width': 60},
  ]
  annotations = [
    annotation(11, 70, 1, [2, 3, 20, 30]),
    annotation(12, 70, 18, [30.5, 10.25, 20, 20]),
    annotation(13, 70, 3, [0, 0, 60, 40], iscrowd=1),
    annotation(14, 5, 3, [4, 8, 40, 50]),
  ]
  return {'images': images, 'categories': CATEGORIES, 'annotations': annotations}


def annotation(number: int, image: int, category: int, box: list, **more) -> dict[str, Any]:
  """An annotation whose mask is the whole box."""
  x, y, width, height = box
  corners = [x, y, x + width, y, x + width, y + height, x, y + height]
  return {
    'id': number, 'image_id': image, 'category_id': category, 'bbox': box,
    'area': width * height, 'iscrowd': 0, 'segmentation': [corners], **more,
  }


def both_orientations(objects: Sequence[int], height: int, width: int,
                      sides: tuple[int, int]) -> dict[str, Any]:
  """Two images, one upright and one lying, for each number of objects.

  Args:
    objects: their numbers.
    height: of the lying images.
    width: likewise.
    sides: shortest and longest side of an object, in pixels.
  """
  random = np.random.RandomState(0)
  content = {'images': [], 'categories': CATEGORIES, 'annotations': []}
  for number in range(2 * len(objects)):
    rows, columns = (height, width) if number % 2 else (width, height)
    content['images'].append(
      {'id': number, 'file_name': f'{number}.png', 'height': rows, 'width': columns})
    for _ in range(objects[number // 2]):
      across, down = (int(side) for side in random.randint(sides[0], sides[1] + 1, 2))
      x, y = int(random.randint(columns - across + 1)), int(random.randint(rows - down + 1))
      kind = (across > down) + (across > 2 * down)
      content['annotations'].append(annotation(
        len(content['annotations']) + 1, number, CATEGORIES[kind]['id'], [x, y, across, down]))
  return content


def write(folder: pathlib.Path, content: dict[str, Any], name: str = 'coco.json') -> str:
  """Writes the JSON and its images, whose pixels are bright within the boxes."""
  folder.mkdir(parents=True, exist_ok=True)
  for image in content['images']:
    pixels = np.full((image['height'], image['width'], 3), 40, np.uint8)
    for entry in content['annotations']:
      if entry.get('image_id') == image['id'] and not entry.get('iscrowd'):
        x, y, width, height = entry['bbox']
        pixels[round(y) : round(y + height), round(x) : round(x + width)] = 220
    Image.fromarray(pixels).save(folder / image['file_name'])
  file = folder / name
  file.write_text(json.dumps(content))
  return str(file)


def random_detections(images: int = 40) -> tuple[dict[str, Any], list[dict[str, Any]]]:
  """Ground truth of all sizes with crowds, and detections near it with tied scores.

  Returns:
    (content of a COCO JSON, entries of a result file with 'bbox' and 'segmentation').
  """
  random = np.random.RandomState(0)
  content = {'images': [], 'categories': CATEGORIES, 'annotations': []}
  results = []
  for image in range(1, images + 1):
    size = {'height': 240, 'width': 320}
    content['images'].append({'id': image, 'file_name': f'{image}.png', **size})
    for _ in range(random.randint(0, 7)):
      width, height = (int(side) for side in random.randint(8, 140, 2))
      box = [int(random.randint(320 - width)), int(random.randint(240 - height)), width, height]
      category = CATEGORIES[random.randint(3)]['id']
      crowd = int(random.randint(12) == 0)
      segmentation = _cut_corner(box)
      if crowd:
        segmentation = _run_lengths(box)
      content['annotations'].append(annotation(
        len(content['annotations']) + 1, image, category, box, iscrowd=crowd,
        segmentation=segmentation, area=int(width * height * 3 // 4),
      ))
      for _ in range(random.randint(0, 3)):
        moved = [max(int(side + random.randint(-6, 7)), 1) for side in box]
        other = CATEGORIES[random.randint(3)]['id'] if random.randint(6) == 0 else category
        results.append({
          'image_id': image, 'category_id': other, 'bbox': moved, 'segmentation': None,
          'score': float(random.randint(1, 21) / 20),
        })
  for result in results:
    result['segmentation'] = _encoded(_cut_corner(result['bbox']))
  return content, results


def _cut_corner(box: list) -> list[list[int]]:
  x, y, width, height = box
  middle, half = x + width // 2, y + height // 2
  return [[x, y, x + width, y, x + width, half, middle, y + height, x, y + height]]


def _run_lengths(box: list) -> dict[str, Any]:
  """The box as run lengths that are not compressed, column by column."""
  mask = np.zeros((240, 320), np.uint8)
  mask[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = 1
  flat = np.concatenate([[0], mask.ravel(order='F'), [2]])
  ends = np.flatnonzero(np.diff(flat))
  counts = np.diff(np.concatenate([[0], ends[:-1], [mask.size]]))
  return {'size': [240, 320], 'counts': [int(count) for count in counts]}


def _encoded(polygons: list[list[int]]) -> dict[str, Any]:
  from pycocotools import mask

  rle = mask.merge(mask.frPyObjects(polygons, 240, 320))
  return {'size': [240, 320], 'counts': rle['counts'].decode('ascii')}
