"""COCO's images from TFDS's `coco/2017` in array_record files, with the annotations of a JSON."""

import numpy as np

from ecanet_jax.data.detection.coco_split import CocoSplit
from ecanet_jax.data.detection.settings import Settings
from ecanet_jax.data.sources import tfds as tfds_source
from ecanet_jax.data.tfdata.tf_import import tensorflow_datasets
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.log import log

tfds = tensorflow_datasets()

JSONS = {
  'train': 'instances_train2017.json', 'validation': 'instances_val2017.json',
}


class TfdsCocoSplit(CocoSplit):
  """A split of a prepared COCO; its images are those of the split that the JSON names."""

  def __init__(
    self, name: str, data_dir: str, split: str, file: str, settings: Settings,
    max_bad: float = 0.0,
  ):
    """Opens the images, reads their numbers once, and joins the annotations.

    Args:
      name: of the data set, such as coco/2017.
      data_dir: TFDS's directory; '' = its default.
      split: train or validation, or a part such as 'train[:100]'.
      file: the COCO JSON of the split, from annotations_trainval2017.zip.
      settings: see `CocoSplit`.
      max_bad: see `CocoSplit`.

    Raises:
      UserError: see `CocoSplit`; the data set is not prepared in array_record files, or the JSON
        does not name an image.
    """
    super().__init__(file, settings, max_bad)
    builder = tfds_source.open_builder(name, data_dir, 'array_record')
    if builder.info.file_format.value != 'array_record':
      raise UserError(
        f'{name} is prepared as {builder.info.file_format.value} in {builder.data_dir}, and a '
        'detector reads at random; prepare it in another directory: python -m ecanet_jax prepare '
        f'--dataset={name} --file_format=array_record --data_dir=DIR'
      )
    features = builder.info.features
    if not {'image', 'image/id'} <= set(features):
      raise UserError(f"{name} has no features 'image' and 'image/id'; use coco/2017")
    self._images = builder.as_data_source(
      split=split, decoders={'image': tfds.decode.SkipDecoding()}
    )
    log.info('%s %s: reading the numbers of %d images', name, split, len(self._images))
    known = {int(one): place for place, one in enumerate(self.ids)}
    places = np.array([known.get(int(entry['image/id']), -1) for entry in self._images], np.int64)
    if np.any(places < 0):
      base = split.partition('[')[0]
      raise UserError(
        f'{file} does not name {int(np.sum(places < 0)):,} of the {len(places):,} images of '
        f'{name} {split}; its JSON is {JSONS.get(base, "instances_*.json")}'
      )
    self.ids, self.sizes = self.ids[places], self.sizes[places]
    self._files = tuple(self._files[place] for place in places)
    self._instances = tuple(self._instances[place] for place in places)

  def read(self, index: int) -> bytes:
    """Returns an image as it is stored."""
    return self._images[index]['image']
