"""The images of a COCO JSON, in a folder or in a TFDS data set.

TFDS's `coco/2017` has no masks and rounds boxes and areas, so only its images are used. The
annotations are those of COCO's own `instances_train2017.json`, joined by the number of the image.
"""

import concurrent.futures
import io
import os
from typing import Any

import numpy as np
from PIL import Image

from ecanet_jax.data import image_files
from ecanet_jax.data.detection import coco_json
from ecanet_jax.data.detection.annotations import Instances
from ecanet_jax.data.detection.settings import Settings
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, one_line
from ecanet_jax.runtime.log import log

CHECKED = 20_000  # images; a larger split is checked only while it is read
REQUESTS = 32  # at the same time: a bucket takes a while to answer
SHOWN = 3  # names in a message


class CocoSplit:
  """Images with the annotations of a COCO JSON; see `DetectionSplit`. A subclass reads them."""

  def __init__(self, file: str, settings: Settings, max_bad: float = 0.0):
    """Reads the annotations.

    Args:
      file: the COCO JSON.
      settings: masks and max_boxes say what every image must have.
      max_bad: the fraction of the annotations that may be wrong.

    Raises:
      UserError: one line that counts and names what is wrong.
    """
    self._file = paths.to_path(file)
    found = coco_json.read(
      self._file, with_masks=settings.masks != 'none', max_boxes=settings.max_boxes,
      max_bad=max_bad,
    )
    self.name = str(file)
    self.categories, self.ids, self.sizes = found.categories, found.ids, found.sizes
    self._files, self._instances, self._left_out = found.files, found.instances, found.left_out

  def read(self, index: int) -> bytes:
    """Returns an image as it is stored."""
    raise NotImplementedError

  def image_name(self, index: int) -> str:
    """Returns the name of an image, for messages."""
    return self._files[index]

  def load(self, index: int) -> tuple[np.ndarray, Instances]:
    """Returns an image and what is on it.

    Raises:
      UserError: the image cannot be decoded, or has not the size that the JSON says.
    """
    try:
      image = np.asarray(image_files.decode(self.read(index)))
    except UserError as error:
      raise UserError(f'{self.image_name(index)}: {error}') from None
    if fault := self._size_fault(index, *image.shape[:2]):
      raise UserError(f'{self.name}: {fault}')
    return image, self._instances[index]

  def trainable(self, settings: Settings) -> np.ndarray:
    """Returns the numbers of the images that are large enough, and not empty.

    Raises:
      UserError: no image is left.
    """
    empty = np.array([not len(instances.labels) for instances in self._instances])
    small = self.sizes.min(axis=1) < settings.min_side
    dropped = small | (empty if settings.empty == 'drop' else False)
    if dropped.all():
      raise UserError(
        f'{self.name}: no image is left to train on: {int(empty.sum()):,} of {len(empty):,} have '
        f'no objects, {int(small.sum()):,} have a side below {settings.min_side} pixels'
      )
    if dropped.any():
      log.info('%s: %d of %d images are not trained on; %d have no objects, %d a side below %d '
               'pixels', self.name, dropped.sum(), len(dropped), empty.sum(), small.sum(),
               settings.min_side)
    return np.flatnonzero(~dropped)

  def ground_truth(self) -> dict[str, Any]:
    """Returns the content of the COCO JSON without wrong annotations and other splits' images."""
    content, ids = coco_json.load(self._file), set(map(int, self.ids))
    annotations = []
    for entry in content['annotations']:
      if entry.get('image_id') in ids and entry.get('id') not in self._left_out:
        area = entry['bbox'][2] * entry['bbox'][3]
        annotations.append({'iscrowd': 0, 'area': area, **entry})
    return {
      'images': [image for image in content['images'] if image['id'] in ids],
      'categories': content['categories'],
      'annotations': annotations,
    }

  def check(self) -> None:
    """Reads the size of every image of a split of up to `CHECKED`.

    Raises:
      UserError: images that cannot be read, or have not the size that the JSON says; the text
        counts and names them.
    """
    if len(self.ids) > CHECKED:
      return

    def fault(index: int) -> str:
      try:
        with Image.open(io.BytesIO(self.read(index))) as image:
          return self._size_fault(index, image.height, image.width)
      except Exception as error:  # Pillow raises many kinds for a damaged file
        return f'{self.image_name(index)} cannot be read ({one_line(error, 80)})'

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
      found = [text for text in pool.map(fault, range(len(self.ids))) if text]
    if found:
      more = f'; and {len(found) - SHOWN} more' if len(found) > SHOWN else ''
      raise UserError(
        f'{self.name}: {len(found)} of {len(self.ids):,} images do not fit: '
        f'{"; ".join(found[:SHOWN])}{more}'
      )

  def _size_fault(self, index: int, height: int, width: int) -> str:
    rows, columns = self.sizes[index]
    if (rows, columns) == (height, width):
      return ''
    return f'{self.image_name(index)} has {height} x {width} pixels, not {rows} x {columns}'


class CocoFolderSplit(CocoSplit):
  """The images are files below a folder, by their file_name."""

  def __init__(self, file: str, folder: str, settings: Settings, max_bad: float = 0.0):
    """Reads the annotations, and looks whether every image is there.

    Args:
      file: the COCO JSON.
      folder: of the images.
      settings: see `CocoSplit`.
      max_bad: see `CocoSplit`.

    Raises:
      UserError: see `CocoSplit`, or images are missing; the text counts and names them.
    """
    super().__init__(file, settings, max_bad)
    self._folder = paths.to_path(folder)

    def missing(name: str) -> bool:
      if not paths.is_remote(self._folder):
        return not os.path.isfile(self._folder / name)
      with paths.answers(self._folder):
        return not (self._folder / name).exists()

    with concurrent.futures.ThreadPoolExecutor(REQUESTS) as pool:
      found = [name for name, gone in zip(self._files, pool.map(missing, self._files)) if gone]
    if found:
      more = ' ...' if len(found) > SHOWN else ''
      raise UserError(
        f'{file}: {len(found):,} of {len(self._files):,} images are not in {folder}: '
        f'{", ".join(found[:SHOWN])}{more}; --config.data.data_dir=DIR is the folder that '
        'file_name is relative to'
      )

  def read(self, index: int) -> bytes:
    """Returns an image as it is stored."""
    file = self._folder / self._files[index]
    try:
      with paths.answers(file):
        return file.read_bytes()
    except OSError as error:
      raise UserError(f'the file cannot be read: {error.strerror}') from None
