"""The training images of a small data set, kept on every device for the whole training.

The decoded uint8 images are copied to the devices once. A batch then holds only which image to
take and how to crop it; the compiled step makes the pixels from that (`select`). Crops and
mirroring are those of data.source='memory': the same for the same (seed, epoch, index), whatever
the number of devices and hosts.

Image files are decoded once, at the start: the largest centred square, resized to image_size. With
crop='inception' the random rectangles are taken from that square.
"""

import itertools
from collections.abc import Iterator

import jax
import numpy as np

from ecanet_jax.data import shuffling
from ecanet_jax.data.augmentation.resampled_crop import Sampler, Taps, resample
from ecanet_jax.data.labels import check_labels
from ecanet_jax.data.types import Batch, Shard, Source
from ecanet_jax.runtime.errors import UserError

MAX_BYTES = 2**31  # of images, on every device
ROWS = 256  # images that are decoded together


class Resident:
  """The decoded training split of a configuration with data.resident=True.

  Attributes:
    arrays: {'image': uint8 [n, side, side, 3], 'label': int32 [n] or bool [n, classes]}; every
      device needs a copy. The side is the image size, or less if the images of a set in memory are
      smaller.
  """

  def __init__(self, config, source: Source, image_size: int):
    """Reads the images.

    Args:
      config: the whole configuration; seed, batch_size, accumulate and data are used.
      source: the opened data set.
      image_size: pixels of the training images, height = width.

    Raises:
      UserError: more images than fit, an unknown crop, a label that is no class.
    """
    self._config = config
    side = source.stored_size(image_size)
    self._sampler = Sampler(config.data, side, image_size)
    self.arrays = _read(source, side)

  def train(
    self, start: int, steps: int | None = None, *, host: int = 0, num_hosts: int = 1
  ) -> Iterator[Batch]:
    """Yields the random choices of the training batches from step `start` on; see `Dataset.train`.

    Yields:
      {'index': int32 [b]} and the fields of `Taps`, int32 [b, size, K]; this host's rows.
    """
    size, count = self._config.batch_size, len(self.arrays['label'])
    mine = Shard(host, num_hosts, self._config.accumulate).places(size)
    numbers = itertools.count(start)
    for step in numbers if steps is None else range(start, start + steps):
      keys, indices = shuffling.batch_positions(count, self._config.seed, step, size, mine)
      taps = self._sampler.draw(keys, indices)
      yield {'index': indices.astype(np.int32), **taps._asdict()}


def _read(source: Source, side: int) -> Batch:
  """Returns the training split, {'image': uint8 [n, side, side, 3], 'label': int32 [n]}."""
  count = source.info.train.num_examples
  size = 3 * count * side**2
  if size > MAX_BYTES:
    raise UserError(
      f'data.resident: {count:,} images of {side} px are {size / 2**30:.1f} GiB and '
      f'{MAX_BYTES / 2**30:.0f} GiB is the most; lower data.image_size or set data.resident=False'
    )
  labels = (count, source.info.num_classes) if source.info.multi_label else (count,)
  arrays = {
    'image': np.empty((count, side, side, 3), np.uint8),
    'label': np.empty(labels, bool if source.info.multi_label else np.int32),
  }
  done = 0
  for batch in source.train_images(side, ROWS):
    rows = slice(done, done + len(batch['label']))
    for name, array in arrays.items():
      array[rows] = batch[name]
    done = rows.stop
  if done != count:
    raise UserError(
      f'the training split has {done:,} images and its description says {count:,}; prepare the '
      'data set again'
    )
  check_labels(arrays['label'], source.info.num_classes)
  return arrays


def select(arrays: dict[str, jax.Array], chosen: dict[str, jax.Array]) -> dict[str, jax.Array]:
  """Returns the batch {'image': uint8 [b, size, size, 3], 'label': int32 [b]}; runs under jit.

  Args:
    arrays: `Resident.arrays` on the device.
    chosen: a batch of `Resident.train`.
  """
  taps = Taps(*(chosen[name] for name in Taps._fields))
  take = lambda index, taps: resample(arrays['image'][index], taps)
  # One image at a time, so that no device needs rows of another.
  return {
    'image': jax.vmap(take)(chosen['index'], taps), 'label': arrays['label'][chosen['index']]
  }
