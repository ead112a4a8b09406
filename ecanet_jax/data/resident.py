"""A small training split that is on the device from the first step to the last.

The uint8 images go there once. A batch is then a few numbers per image, and the compiled step
gathers the images, shifts and mirrors them: the augmentation of memory.py, the same pixels for the
same (seed, epoch, index), whatever the number of devices and hosts. Images of another source than
'memory' are decoded once, at the start: their largest centred square, resized.
"""

import itertools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from ecanet_jax import data
from ecanet_jax.data import memory, order
from ecanet_jax.data.augmentation import settings
from ecanet_jax.data.source import Batch, Shard, check_labels
from ecanet_jax.errors import UserError

MAX_BYTES = 2**31  # of images, on every device
ROWS = 256  # images that are decoded together


class Resident:
  """The training split of a configuration with data.resident.

  Attributes:
    arrays: {'image': uint8 [n, size, size, 3], 'label': int32 [n]}; every device needs a copy.

  Raises:
    UserError: more images than fit, an unknown crop, or see `data.describe`.
  """

  def __init__(self, config):
    settings.check(config)
    self._config = config
    self._shift = memory.largest_shift(config.data.crop, config.data.image_size)
    self.arrays = load(config)

  def train_batches(
    self, start_step: int, steps: int | None, *, host: int = 0, num_hosts: int = 1
  ) -> Iterator[Batch]:
    """Yields what is random in the training batches from step `start_step` on; None = endless.

    Yields:
      {'index': int32 [b], 'shift': int32 [b, 2] in pixels, 'mirror': bool [b]}, this host's rows.
    """
    size, count = self._config.batch_size, len(self.arrays['label'])
    mine = Shard(host, num_hosts, self._config.accumulate).places(size)
    numbers = itertools.count(start_step)
    for step in numbers if steps is None else range(start_step, start_step + steps):
      keys, indices = order.batch_positions(count, self._config.seed, step, size, mine)
      offset, mirror = memory.draw(keys, indices, shift=self._shift, flip=self._config.data.flip)
      yield {
        'index': indices.astype(np.int32), 'shift': offset.astype(np.int32), 'mirror': mirror
      }


def load(config) -> Batch:
  """Returns the whole training split, {'image': uint8 [n, size, size, 3], 'label': int32 [n]}."""
  count, size = data.describe(config).train.num_examples, config.data.image_size
  if count * size * size * 3 > MAX_BYTES:
    raise UserError(
      f'data.resident: {count:,} images of {size} px are {count * size * size * 3 / 2**30:.1f} GiB '
      f'and {MAX_BYTES / 2**30:.0f} GiB is the most; lower data.image_size or set '
      'data.resident=False'
    )
  whole = config.copy_and_resolve_references()
  whole.data.eval_split, whole.data.crop_fraction = config.data.train_split, 1.0
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
  size = arrays['image'].shape[1]
  index, shift = chosen['index'], chosen['shift']
  place = jnp.arange(size)[None]
  row = jnp.clip(place + shift[:, :1], 0, size - 1)
  column = jnp.where(chosen['mirror'][:, None], place[:, ::-1], place)
  column = jnp.clip(column + shift[:, 1:], 0, size - 1)
  image = arrays['image'][index[:, None, None], row[:, :, None], column[:, None, :]]
  return {'image': image, 'label': arrays['label'][index]}
