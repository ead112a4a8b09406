"""tf.data pipelines: encoded records in, batches of uint8 images out.

A record is {'data': bytes or a path, 'label': int32, 'name': what to call it in a message, 'seed':
int64 [2] (training only)}. A source says how to get the records from a given batch on; this file
decodes them in TensorFlow's threads, batches them, and says by name which record is broken (in a
training broken.py first replaces some).
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
from ecanet_jax.data.tfdata.corrupt_images import Broken
from ecanet_jax.data.tfdata.tf_import import tensorflow
from ecanet_jax.data.types import Batch, Shard
from ecanet_jax.runtime.errors import UserError

tf = tensorflow()

FETCHED = 128  # images that Python hands over at once where batches are small, which it is slow at

_streams = weakref.WeakSet()


@atexit.register
def _close_streams() -> None:
  """Ends what still reads, because TensorFlow complains when Python goes first."""
  for stream in list(_streams):
    with contextlib.suppress(ValueError):  # another thread is inside
      stream.close()


class IndexedSplit(Protocol):
  """A split whose images can be read in any order."""

  def __len__(self) -> int: ...

  def fetch(self, indices: np.ndarray) -> dict[str, Any]:
    """Returns {'data': n bytes, 'label': int32 [n] or bool [n, classes], 'name': n strings}."""

  def read(self, data):
    """Returns the file's bytes from one element of 'data' (TensorFlow string scalars)."""


def indexed_train(
  config, split: IndexedSplit, start_step: int, steps: int | None, shard: Shard
) -> Iterator[Batch]:
  """Yields this host's rows of the training batches of an index-addressable split."""
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
    start = start_step + skipped
    spec = _spec() | {'seed': tf.TensorSpec([None, 2], tf.int64)}
    chunks = tf.data.Dataset.from_generator(lambda: fetched(start), output_signature=spec)
    return chunks.prefetch(1).unbatch()

  def spares(key, index):
    for following in itertools.count(index + 1):
      found = split.fetch(np.array([following % len(split)]))
      yield {name: value[0] for name, value in found.items()} | {'seed': np.array([key, index])}

  transform = train_transform(config, split.read)
  return batches(
    records, transform, rows, threads=config.data.decode_threads, steps=steps,
    broken=Broken(config.data.max_bad, len(split), spares),
  )


def indexed_eval(
  config, split: IndexedSplit, rows: int, shard: Shard, crops: int = 1
) -> Iterator[Batch]:
  """Yields this host's part of an index-addressable split once, in order."""
  records = indexed_records(split, shard.examples(len(split)), rows)
  transform = eval_transform(config, split.read, crops)
  return batches(records, transform, rows, threads=config.data.decode_threads)


def indexed_records(split: IndexedSplit, part: range, rows: int) -> Callable:
  """Returns the function for `batches` that gives the records of `part` of a split in order."""

  together = max(FETCHED, rows)

  def fetched(first):
    for start in range(first, part.stop, together):
      yield split.fetch(np.arange(start, min(start + together, part.stop)))

  def records(skipped):
    first = part.start + skipped * rows
    label = split.fetch(np.zeros((1,), int))['label']
    spec = _spec() | {'label': tf.TensorSpec([None, *label.shape[1:]], label.dtype)}
    chunks = tf.data.Dataset.from_generator(lambda: fetched(first), output_signature=spec)
    return chunks.prefetch(1).unbatch()

  return records


def train_transform(config, read: Callable) -> Callable:
  """Returns the function record -> {'image', 'label'} for training; `read` gives the bytes."""
  transform, chain = decode.train_transform(config.data), make_chain(config)

  def apply(record):
    image = transform(read(record['data']), record['seed'])
    if chain is not None:
      image = chain(image, record['seed'])
    return {'image': image, 'label': record['label']}

  return apply


def eval_transform(config, read: Callable, crops: int = 1) -> Callable:
  """Returns the function record -> {'image', 'label'} for evaluation; `read` gives the bytes."""
  transform = decode.eval_transform(config.data, crops)

  def apply(record):
    return {'image': transform(read(record['data'])), 'label': record['label']}

  return apply


def batches(
  records: Callable, transform: Callable, rows: int, *, threads: int, steps: int | None = None,
  broken: Broken | None = None,
) -> Iterator[Batch]:
  """Decodes and batches records; the last batch may be short.

  Args:
    records: the function (number of whole batches to leave out) -> tf.data.Dataset of records.
    transform: record -> {'image', 'label'}.
    rows: images per batch.
    threads: parallel decodes; 0 = tf.data chooses.
    steps: batches to give; None = all there are. An endless stream that is read to its end in this
      way leaves nothing at work when it is closed, which can otherwise take a minute.
    broken: counts and replaces images that cannot be decoded; None = the first ends the stream.

  Returns:
    Iterator of {'image': uint8 [n, size, size, 3], 'label': int32 [n]}.

  Raises:
    UserError: while iterating: a record cannot be read or decoded; the text names it.
  """
  stream = _batches(records, transform, rows, threads, steps, broken)
  _streams.add(stream)
  return stream


def _batches(records, transform, rows, threads, steps, broken):
  done, guard = 0, False
  iterator = _iterator(records(0), transform, rows, threads, steps)
  try:
    while True:
      try:
        batch = next(iterator)
      except StopIteration:
        return
      except tf.errors.OpError as error:
        if broken is None or guard:
          raise _broken(records(done).take(rows), transform, error) from None
        # From the batch that failed on, with a guard around every image.
        left, guard = None if steps is None else steps - done, True
        iterator = _iterator(records(done), broken.guarded(transform), rows, threads, left)
        continue
      yield broken.mend(batch, transform, reason) if guard else batch
      done += 1
  finally:
    if broken is not None:
      broken.end()


def _iterator(records, transform, rows, threads, steps):
  dataset = records.take(-1 if steps is None else steps * rows).map(
    transform, num_parallel_calls=threads or tf.data.AUTOTUNE, deterministic=True
  )
  dataset = dataset.batch(rows).prefetch(2).with_options(_options(threads))
  return dataset.as_numpy_iterator()


def _broken(records, transform: Callable, error: Exception) -> UserError:
  """Finds the record of a failed batch that cannot be decoded, and returns what to raise."""
  iterator = iter(records)
  for place in itertools.count():
    try:
      record = next(iterator)
    except StopIteration:
      return UserError(f'the images cannot be read: {reason(error)}')
    except tf.errors.OpError as failure:
      return UserError(
        f'the data on disk are damaged: record {place} of the batch cannot be read: '
        f'{reason(failure)}. `python -m ecanet_jax prepare --verify_only` checks all of them; '
        'prepare the data set again in another --data_dir.'
      )
    try:
      transform(record)
    except tf.errors.OpError as failure:
      name = record['name'].numpy().decode()
      return UserError(f'{name}: the image cannot be decoded: {reason(failure)}')


def reason(error: Exception) -> str:
  """What TensorFlow says of a broken image, on one line."""
  text = ' '.join(str(getattr(error, 'message', None) or error).split())
  text = text.split('}} ')[-1] if text.startswith('{{') else text
  return text.split(' [Op:')[0][:200]


def _spec() -> dict:
  return {
    'data': tf.TensorSpec([None], tf.string),
    'label': tf.TensorSpec([None], tf.int32),
    'name': tf.TensorSpec([None], tf.string),
  }


def _options(threads: int):
  options = tf.data.Options()
  options.deterministic = True
  # An image is one thread's work; its operations must not wait for others.
  options.threading.max_intra_op_parallelism = 1
  if threads:
    options.threading.private_threadpool_size = threads
  return options
