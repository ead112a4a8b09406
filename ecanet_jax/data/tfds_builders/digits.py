"""scikit-learn's handwritten digits as a TFDS data set; needs no download."""

from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from ecanet_jax.data.sources import in_memory


class Digits(tfds.core.GeneratorBasedBuilder):
  """1,797 scans of handwritten digits, 8 x 8 pixels, grey.

  Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998, as shipped by
  scikit-learn (`load_digits`). Levels 0..16 are scaled to 0..255. Splits: `train` is the first
  1,437 and `test` the last 360 images of the fixed permutation
  `numpy.random.RandomState(0).permutation(1797)`, whose stream numpy has frozen.
  """

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES: ClassVar = {'1.0.0': 'First version.'}

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description='Handwritten digits, 8 x 8 pixels, from scikit-learn.',
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(shape=(8, 8, 1), dtype=np.uint8, encoding_format='png'),
          'label': tfds.features.ClassLabel(names=[str(digit) for digit in range(10)]),
        }
      ),
      supervised_keys=('image', 'label'),
      homepage='https://archive.ics.uci.edu/dataset/80',
    )

  def _split_generators(self, dl_manager):
    del dl_manager  # nothing to download
    train, test = in_memory.digits()
    return {'train': self._generate_examples(train), 'test': self._generate_examples(test)}

  def _generate_examples(self, part):
    for index, (image, label) in enumerate(zip(part['image'], part['label'], strict=True)):
      yield index, {'image': image, 'label': int(label)}
