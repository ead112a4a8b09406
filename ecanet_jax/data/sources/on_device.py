"""A small training split that is on the device from the first step to the last.

The uint8 images go there once. A batch is then a few numbers per row and column of each image, and
the compiled step gathers the pixels and weighs them: the augmentation of memory.py, the same pixels
for the same (seed, epoch, index), whatever the number of devices and hosts. Images of another
source than 'memory' are decoded once, at the start: their largest centred square, resized to
image_size; with crop='inception' the rectangles are taken out of that.
"""

import itertools
from collections.abc import Iterator

import jax
import numpy as np

from ecanet_jax import data
from ecanet_jax.data import shuffling
from ecanet_jax.data.augmentation import settings
from ecanet_jax.data.augmentation.resampled_crop import Sampler, Taps, resample
from ecanet_jax.data.sources import in_memory
from ecanet_jax.data.types import Batch, Shard, check_labels
from ecanet_jax.runtime.errors import UserError

MAX_BYTES = 2**31  # of images, on every device
ROWS = 256  # images that are decoded together


class Resident:
  """The training split of a configuration with data.resident.

  Attributes:
    arrays: {'image': uint8 [n, side, side, 3], 'label': int32 [n]}; every device needs a copy. The
      side is image_size; of a set in memory it may be less, see `memory.stored_size`.

  Raises:
    UserError: more images than fit, an unknown crop, or see `data.describe`.
  """

  def __init__(self, config):
    settings.check(config)
    self._config, from_memory = config, config.data.source == 'memory'
    side = in_memory.stored_size(config.data) if from_memory else config.data.image_size
    self._sampler = Sampler(config.data, side)
    self.arrays = load(config, side)

  def train_batches(
    self, start_step: int, steps: int | None, *, host: int = 0, num_hosts: int = 1
  ) -> Iterator[Batch]:
    """Yields what is random in the training batches from step `start_step` on; None = endless.

    Yields:
      {'index': int32 [b]} and the fields of `Taps`, int32 [b, size, K]; this host's rows.
    """
    size, count = self._config.batch_size, len(self.arrays['label'])
    mine = Shard(host, num_hosts, self._config.accumulate).places(size)
    numbers = itertools.count(start_step)
    for step in numbers if steps is None else range(start_step, start_step + steps):
      keys, indices = shuffling.batch_positions(count, self._config.seed, step, size, mine)
      taps = self._sampler.draw(keys, indices)
      yield {'index': indices.astype(np.int32), **taps._asdict()}


def load(config, size: int) -> Batch:
  """Returns the whole training split, {'image': uint8 [n, size, size, 3], 'label': int32 [n]}."""
  count = data.describe(config).train.num_examples
  if count * size * size * 3 > MAX_BYTES:
    raise UserError(
      f'data.resident: {count:,} images of {size} px are {count * size * size * 3 / 2**30:.1f} GiB '
      f'and {MAX_BYTES / 2**30:.0f} GiB is the most; lower data.image_size or set '
      'data.resident=False'
    )
  whole = config.copy_and_resolve_references()
  whole.data.eval_split, whole.data.crop_fraction = config.data.train_split, 1.0
  whole.data.image_size = size
  arrays = {
    'image': np.empty((count, size, size, 3), np.uint8), 'label': np.empty((count,), np.int32)
  }
  seen = 0
  for batch in data.eval_batches(whole, batch_size=ROWS)[0]:
    rows = int(batch['mask'].sum())
    for name, array in arrays.items():
      array[seen : seen + rows] = batch[name][:rows]
    seen += rows
  check_labels(arrays['label'], data.describe(config).num_classes)
  return arrays


def select(arrays: dict[str, jax.Array], chosen: dict[str, jax.Array]) -> dict[str, jax.Array]:
  """Returns the batch {'image': uint8 [b, size, size, 3], 'label': int32 [b]}; runs under jit.

  Args:
    arrays: `Resident.arrays` on the device.
    chosen: an element of `Resident.train_batches`.
  """
  taps = Taps(*(chosen[name] for name in Taps._fields))
  take = lambda index, taps: resample(arrays['image'][index], taps)
  # One image at a time, so that no device needs another's rows.
  return {
    'image': jax.vmap(take)(chosen['index'], taps), 'label': arrays['label'][chosen['index']]
  }
