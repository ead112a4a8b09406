"""Images for training and evaluation: sources, order, decoding and augmentation.

A program opens its data set once:

  dataset = data.open(config)
  for batch in dataset.train(start=0):
    ...
  batches, steps = dataset.eval()

The step number is the only state of the data. Images are uint8 [b, size, size, 3], RGB; they are
normalised on the device. TensorFlow is imported only if images have to be decoded.
"""

from ecanet_jax.data.dataset import SOURCES, Dataset, open
from ecanet_jax.data.types import Batch, DatasetInfo, Split

__all__ = ['SOURCES', 'Batch', 'Dataset', 'DatasetInfo', 'Split', 'open']
