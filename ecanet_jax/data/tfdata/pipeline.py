"""tf.data pipelines: encoded records in, batches of uint8 images out.

A record is {'data': encoded image or its path, 'label': int32 or bool [classes], 'name': str for
messages, 'seed': int64 [2] (training only)}. A source supplies the records from a given batch on.
They are decoded in TensorFlow's threads and batched. An error names the image. In training a few
corrupt images may be replaced (corrupt_images.py).
"""

import atexit
import contextlib
import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from ecanet_jax.data import shuffling
from ecanet_jax.data.augmentation.host.chain import make_chain
from ecanet_jax.data.tfdata import decode
from ecanet_jax.data.tfdata.corrupt_images import UNDECODABLE, CorruptImages, error_text
from ecanet_jax.data.tfdata.tf_import import tensorflow
from ecanet_jax.data.types import Batch, Shard
from ecanet_jax.runtime.errors import UserError

tf = tensorflow()

FETCHED = 128  # images per call of a Python generator, so that small batches are not slow

_streams = weakref.WeakSet()


@atexit.register
def _close_streams() -> None:
  """Closes all streams, because TensorFlow prints errors if Python exits while it reads."""
  for stream in list(_streams):
    with contextlib.suppress(ValueError):  # another thread is reading
      stream.close()


class IndexedSplit(Protocol):
  """A split whose images can be read in any order."""

  def __len__(self) -> int: ...

  def fetch(self, indices: np.ndarray) -> dict[str, Any]:
    """Returns {'data': n bytes, 'label': int32 [n] or bool [n, classes], 'name': n strings}."""

  def read(self, data):
    """Returns the encoded image of one element of 'data' (TensorFlow string scalars)."""


def indexed_train(
  config, split: IndexedSplit, start: int, steps: int | None, shard: Shard, image_size: int
) -> Iterator[Batch]:
  """Yields this host's rows of the training batches of an indexed split from step `start` on."""
  rows = shard.rows(config.batch_size)
  mine = shard.places(config.batch_size)
  together = max(1, FETCHED // rows)  # batches

  def fetched(first_step):
    for first in itertools.count(first_step, together):
      keys, indices = np.concatenate([
        shuffling.batch_positions(len(split), config.seed, step, config.batch_size, mine)
        for step in range(first, first + together)
      ], axis=1)
      yield split.fetch(indices) | {'seed': np.stack([keys, indices], axis=1)}

  def records(skipped):
    spec = _spec(split) | {'seed': tf.TensorSpec([None, 2], tf.int64)}
    chunks = tf.data.Dataset.from_generator(
      lambda: fetched(start + skipped), output_signature=spec
    )
    return chunks.prefetch(1).unbatch()

  def spares(key, index):
    for following in itertools.count(index + 1):
      found = split.fetch(np.array([following % len(split)]))
      yield {name: value[0] for name, value in found.items()} | {'seed': np.array([key, index])}

  return batches(
    records, train_transform(config, split.read, image_size), rows,
    threads=config.data.decode_threads, steps=steps,
    corrupt=CorruptImages(config.data.max_bad, len(split), spares),
  )


def indexed_in_order(
  split: IndexedSplit, part: range, transform: Callable, rows: int, threads: int
) -> Iterator[Batch]:
  """Yields `part` of an indexed split once, in order; `transform` is bytes -> image."""
  records = indexed_records(split, part, rows)
  return batches(records, on_records(transform, split.read), rows, threads=threads)


def indexed_records(split: IndexedSplit, part: range, rows: int) -> Callable:
  """Returns the `records` argument of `batches`: `part` of an indexed split in order."""
  together = max(FETCHED, rows)

  def fetched(first):
    for start in range(first, part.stop, together):
      yield split.fetch(np.arange(start, min(start + together, part.stop)))

  def records(skipped):
    first = part.start + skipped * rows
    chunks = tf.data.Dataset.from_generator(lambda: fetched(first), output_signature=_spec(split))
    return chunks.prefetch(1).unbatch()

  return records


def train_transform(config, read: Callable, image_size: int) -> Callable:
  """Returns the function record -> {'image', 'label'} for training; `read` gives the bytes."""
  transform = decode.train_transform(config.data, image_size)
  chain = make_chain(config, image_size)

  def apply(record):
    image = transform(read(record['data']), record['seed'])
    if chain is not None:
      image = chain(image, record['seed'])
    return {'image': image, 'label': record['label']}

  return apply


def on_records(transform: Callable, read: Callable) -> Callable:
  """Returns the function record -> {'image', 'label'} for a transform bytes -> image."""

  def apply(record):
    return {'image': transform(read(record['data'])), 'label': record['label']}

  return apply


def batches(
  records: Callable, transform: Callable, rows: int, *, threads: int, steps: int | None = None,
  corrupt: CorruptImages | None = None,
) -> Iterator[Batch]:
  """Decodes and batches records; the last batch may be short.

  Args:
    records: the function (number of batches to skip) -> tf.data.Dataset of records.
    transform: record -> {'image', 'label'}.
    rows: images per batch.
    threads: parallel decodes; 0 = tf.data chooses.
    steps: number of batches; None = all there are. Give the number if it is known: tf.data then
      stops reading ahead after the last batch. Closing an endless stream can take a minute.
    corrupt: counts and replaces images that cannot be decoded; None = the first is an error.

  Returns:
    Iterator of {'image': uint8 [n, size, size, 3], 'label': int32 [n] or bool [n, classes]}.

  Raises:
    UserError: while iterating: a record cannot be read or decoded; the text names it.
  """
  stream = _batches(records, transform, rows, threads, steps, corrupt)
  _streams.add(stream)
  return stream


def _batches(records, transform, rows, threads, steps, corrupt):
  done, guarded = 0, False
  iterator = _iterator(records(0), transform, rows, threads, steps)
  try:
    while True:
      try:
        batch = next(iterator)
      except StopIteration:
        return
      except tf.errors.OpError as error:
        if corrupt is None or guarded:
          raise _failure(records(done).take(rows), transform, error) from None
        # Start again at the batch that failed, with a guard around every image.
        left, guarded = None if steps is None else steps - done, True
        iterator = _iterator(records(done), corrupt.guard(transform), rows, threads, left)
        continue
      yield corrupt.replace(batch, transform) if guarded else batch
      done += 1
  finally:
    if corrupt is not None:
      corrupt.log_summary()


def _iterator(records, transform, rows, threads, steps):
  dataset = records.take(-1 if steps is None else steps * rows).map(
    transform, num_parallel_calls=threads or tf.data.AUTOTUNE, deterministic=True
  )
  dataset = dataset.batch(rows).prefetch(2).with_options(_options(threads))
  return dataset.as_numpy_iterator()


def _failure(records, transform: Callable, error: Exception) -> UserError:
  """Finds the record of a failed batch that cannot be decoded and returns the error to raise."""
  iterator = iter(records)
  for place in itertools.count():
    try:
      record = next(iterator)
    except StopIteration:
      return UserError(f'the images cannot be read: {error_text(error)}')
    except tf.errors.OpError as failure:
      return UserError(
        f'the data on disk are damaged: record {place} of the batch cannot be read: '
        f'{error_text(failure)}. `python -m ecanet_jax prepare --verify_only` checks all of them; '
        'prepare the data set again in another --data_dir.'
      )
    try:
      transform(record)
    except UNDECODABLE as failure:
      name = record['name'].numpy().decode()
      return UserError(f'{name}: the image cannot be decoded: {error_text(failure)}')


def _spec(split: IndexedSplit) -> dict:
  label = split.fetch(np.zeros((1,), int))['label']
  return {
    'data': tf.TensorSpec([None], tf.string),
    'label': tf.TensorSpec([None, *label.shape[1:]], label.dtype),
    'name': tf.TensorSpec([None], tf.string),
  }


def _options(threads: int):
  options = tf.data.Options()
  options.deterministic = True
  # One thread decodes one image: its operations must not wait for other threads.
  options.threading.max_intra_op_parallelism = 1
  if threads:
    options.threading.private_threadpool_size = threads
  return options
