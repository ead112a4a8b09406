"""COCO's five archives of 2017 with a few generated images, for TFDS's own builder."""

import hashlib
import io
import json
import pathlib
import zipfile
from typing import Any

import numpy as np
from PIL import Image

from tests.support.coco_files import annotation

URL = 'http://images.cocodataset.org/'
# COCO's ids go to 90 with gaps; TFDS wants 80.
CATEGORIES = [{'id': number + number // 9, 'name': f'class {number}'} for number in range(1, 81)]


def write_zips(folder: pathlib.Path, train: int = 5, val: int = 3) -> dict[str, dict[str, Any]]:
  """Writes the archives, and the JSONs beside them, as instances_train2017.json.

  Returns:
    The content of the JSON of each split, 'train' and 'val'.
  """
  folder.mkdir(parents=True, exist_ok=True)
  random = np.random.RandomState(0)
  contents, members = {}, {}
  for split, count, first in (('train', train, 0), ('val', val, 100), ('test', 2, 200)):
    content = {'info': {}, 'licenses': [], 'images': [], 'categories': CATEGORIES}
    annotations = []
    images = {}
    for place in range(count):
      number = first + 7 * (count - place)
      width, height = (48, 64) if place % 2 else (64, 48)
      name = f'{number:012d}.jpg'
      content['images'].append(
        {'id': number, 'file_name': name, 'height': height, 'width': width}
      )
      pixels = Image.fromarray(random.randint(0, 256, (height, width, 3)).astype(np.uint8))
      stream = io.BytesIO()
      pixels.save(stream, 'JPEG')
      images[f'{split}2017/{name}'] = stream.getvalue()
      for _ in range(place % 3):
        box = [float(side) / 4 for side in random.randint(8, 80, 4)]
        annotations.append(annotation(
          1000 * first + len(annotations) + 1, number, CATEGORIES[random.randint(80)]['id'], box,
          iscrowd=int(len(annotations) == 3),
        ))
    members[f'{split}2017.zip'] = images
    if split != 'test':
      content['annotations'] = annotations
    contents[split] = content
  texts = {split: json.dumps(content).encode() for split, content in contents.items()}
  members['annotations_trainval2017.zip'] = {
    f'annotations/instances_{split}2017.json': texts[split] for split in ('train', 'val')
  }
  members['image_info_test2017.zip'] = {'annotations/image_info_test2017.json': texts['test']}
  for name, files in members.items():
    with zipfile.ZipFile(folder / name, 'w') as archive:
      for file, data in files.items():
        archive.writestr(file, data)
  for split in ('train', 'val'):
    (folder / f'instances_{split}2017.json').write_bytes(texts[split])
  return contents


def checksums(folder: pathlib.Path) -> dict[str, tuple[int, str, str]]:
  """(size, SHA-256, file name) of the archives, by their address."""
  found = {}
  for file in sorted(folder.glob('*.zip')):
    part = 'annotations' if file.name.startswith(('annotations', 'image_info')) else 'zips'
    data = file.read_bytes()
    found[f'{URL}{part}/{file.name}'] = len(data), hashlib.sha256(data).hexdigest(), file.name
  return found
