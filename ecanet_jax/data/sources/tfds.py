"""TFDS data sets that are prepared on disk, as TFRecord or array_record. Never uses the network.

array_record files are read at random; shuffling.py gives the order.

TFRecord files can only be read one after the other. (seed, epoch) gives the order of the files and
shuffles a buffer of encoded images. To resume at a step, the images of its epoch are read again and
skipped, without decoding. Every host reads its own part of the split. All parts have the same size,
so up to num_hosts - 1 images are left out. So are the images that do not fill an epoch's last
batch; every epoch leaves out others.
"""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from ecanet_jax.data import tfds_builders
from ecanet_jax.data.labels import count_labels
from ecanet_jax.data.tfdata import decode, pipeline
from ecanet_jax.data.tfdata.corrupt_images import CorruptImages
from ecanet_jax.data.tfdata.tf_import import tensorflow, tensorflow_datasets
from ecanet_jax.data.types import Batch, DatasetInfo, Shard, Source, Split
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, closest, lookup, one_line

tf = tensorflow()
tfds = tensorflow_datasets()

_OFTEN_MEANT = dict.fromkeys(('imagenet', 'imagenet1k', 'ilsvrc', 'ilsvrc2012'), 'imagenet2012')
MANUAL_FILES = {'imagenet2012': ('ILSVRC2012_img_train.tar', 'ILSVRC2012_img_val.tar')}


def data_directory(data_dir: str) -> str:
  """Returns the directory of prepared data sets; '' gives TFDS's default."""
  return str(paths.to_path(data_dir)) if data_dir else tfds.core.constants.DATA_DIR


def require_known(name: str) -> str:
  """Returns the name without config and version; raises UserError if TFDS has no such data set."""
  base = re.split('[:/]', name)[0]
  known = sorted({*tfds.list_builders(with_community_datasets=False), *tfds_builders.BUILDERS})
  if base in known:
    return base
  near = closest(_OFTEN_MEANT.get(base.lower(), base), known)
  raise UserError(
    f'unknown data set {name!r}.{near} {len(known)} are known: '
    'https://www.tensorflow.org/datasets/catalog; for your own images use data.source=folder'
  )


def open_builder(name: str, data_dir: str, file_format: str = ''):
  """Opens a prepared data set from its files alone.

  Args:
    name: of the data set.
    data_dir: TFDS's directory; '' = its default.
    file_format: that the command in the message asks for; '' = prepare's default.

  Raises:
    UserError: the name is unknown, or the data set is not prepared; the text has the command.
  """
  directory = data_directory(data_dir)
  with paths.answers(directory):
    try:
      return tfds.core.read_only_builder.builder_from_files(name, data_dir=directory)
    except tfds.core.DatasetNotFoundError:
      pass
    except ValueError as error:
      raise UserError(f'data set {name!r} in {directory}: {one_line(error, 400)}') from None
  base = require_known(name)
  command = f'python -m ecanet_jax prepare --dataset={name} --data_dir={directory}'
  command += f' --file_format={file_format}' if file_format else ''
  if base in MANUAL_FILES:
    command += f' --manual_dir=DIR (DIR holds {" and ".join(MANUAL_FILES[base])})'
  raise UserError(f'data set {name!r} is not prepared in {directory}. Prepare it: {command}')


@tf.autograph.experimental.do_not_convert  # a notebook shows its warning of TFDS's decorators
def read_records(builder, split, *, shuffle_seed=None):
  """Returns the encoded records of a split (see pipeline.py) as a tf.data.Dataset."""
  read_config = tfds.ReadConfig(
    add_tfds_id=True,
    try_autocache=False,
    skip_prefetch=True,
    shuffle_seed=shuffle_seed,
    shuffle_reshuffle_each_iteration=False,
    interleave_cycle_length=16,
    interleave_block_length=16,
    enable_ordering_guard=False,
  )
  dataset = builder.as_dataset(
    split=split,
    shuffle_files=shuffle_seed is not None,
    read_config=read_config,
    decoders=_image_decoders(builder),
  )
  key, classes, multi_label = label_feature(builder)

  def label(value):
    if not multi_label:
      return tf.cast(value, tf.int32)
    hot = tf.one_hot(value, classes.num_classes, on_value=True, off_value=False, dtype=tf.bool)
    return tf.reduce_any(hot, 0)

  return dataset.map(
    lambda example: {
      'data': example['image'], 'label': label(example[key]), 'name': example['tfds_id']
    }
  )


def records_in_order(builder, split, rows: int):
  """Returns the `records` argument of `pipeline.batches`: a split in order."""
  if builder.info.file_format.value == 'array_record':
    indexed = ArrayRecordSplit(builder, split)
    return pipeline.indexed_records(indexed, range(len(indexed)), rows)
  return lambda skipped: read_records(builder, split).skip(skipped * rows)


class TfdsSource(Source):
  """A prepared TFDS data set with the features 'image' and 'label' (see `label_feature`)."""

  def __init__(self, config):
    self._config, self._data = config, config.data
    self._builder = open_builder(config.data.name, config.data.data_dir)
    _, label, multi_label = label_feature(self._builder)
    train = self._split(config.data.train_split, 'train_split')
    evaluation = self._split(config.data.eval_split, 'eval_split')
    self._indexed = self._builder.info.file_format.value == 'array_record'
    names = tuple(label.names) if label.names else None
    self.info = DatasetInfo(
      train=Split(config.data.train_split, train, label.num_classes),
      eval=Split(config.data.eval_split, evaluation, label.num_classes),
      num_classes=label.num_classes,
      label_names=names,
      index_addressable=self._indexed,
      multi_label=multi_label,
    )

  def train(
    self, start: int, steps: int | None, shard: Shard, image_size: int
  ) -> Iterator[Batch]:
    """Yields this host's rows of the training batches from step `start` on; None = endless."""
    self._require_single_label()
    if self._indexed:
      split = ArrayRecordSplit(self._builder, self._data.train_split)
      return pipeline.indexed_train(self._config, split, start, steps, shard, image_size)
    return self._train_records(start, steps, shard, image_size)

  def eval(self, rows: int, shard: Shard, crops: int = 1) -> Iterator[Batch]:
    """Yields this host's part of the evaluation split once; the last batch may be short."""
    transform = decode.eval_transform(
      self._data.image_size, self._data.crop_fraction, self._data.interpolation, crops,
      self._data.crop_mode, self._data.exif,
    )
    return self._in_order(self._data.eval_split, transform, rows, shard)

  def label_counts(self) -> np.ndarray:
    """Returns the number of training images of each class, int64 [classes]; reads the split."""
    self._require_single_label()
    rows, name = 1024, self._data.train_split
    records = records_in_order(self._builder, name, rows)(0).map(lambda record: record['label'])
    labels = np.concatenate(list(records.batch(rows).as_numpy_iterator()))
    return count_labels(labels, self.info.num_classes)

  def train_images(self, side: int, rows: int) -> Iterator[Batch]:
    """Yields the whole training split once, in order: the largest centred squares."""
    self._require_single_label()
    transform = decode.eval_transform(side, 1.0, self._data.interpolation, exif=self._data.exif)
    return self._in_order(self._data.train_split, transform, rows, Shard())

  def _require_single_label(self) -> None:
    if self.info.multi_label:
      raise UserError(f'{self._builder.name} has several labels per image; it is for evaluation.')

  def _in_order(self, name: str, transform, rows: int, shard: Shard) -> Iterator[Batch]:
    """Yields this host's part of a split once, in order."""
    threads = self._data.decode_threads
    if self._indexed:
      split = ArrayRecordSplit(self._builder, name)
      part = shard.examples(len(split))
      return pipeline.indexed_in_order(split, part, transform, rows, threads)
    part = name if shard.num_hosts == 1 else tfds.even_splits(name, shard.num_hosts)[shard.host]
    if not self._builder.info.splits[part].num_examples:
      return iter(())  # more hosts than images
    records = records_in_order(self._builder, part, rows)
    return pipeline.batches(
      records, pipeline.on_records(transform, tf.identity), rows, threads=threads
    )

  def _split(self, name: str, key: str) -> int:
    splits = self._builder.info.splits
    lookup(splits, re.split(r'[\[+]', name)[0], f'split (data.{key}) of {self._builder.name}')
    try:
      count = splits[name].num_examples
    except (KeyError, ValueError, AssertionError) as error:
      raise UserError(f'data.{key}={name!r}: {one_line(error, 400)}') from None
    if not count:
      raise UserError(f'data.{key}={name!r} has no images')
    return count

  def _train_records(
    self, start: int, limit: int | None, shard: Shard, image_size: int
  ) -> Iterator[Batch]:
    """Yields training batches of TFRecord files; see the module's docstring."""
    config, rows = self._config, shard.rows(self._config.batch_size)
    steps = self.info.train.num_examples // shard.num_hosts // rows
    if not steps:
      raise UserError(
        f'batch_size={config.batch_size} is larger than the {self.info.train.num_examples} images '
        f'of {config.data.train_split!r} on {shard.num_hosts} host(s); lower batch_size'
      )
    part = config.data.train_split
    if shard.num_hosts > 1:
      part = tfds.even_splits(part, shard.num_hosts, drop_remainder=True)[shard.host]

    def epoch_records(epoch, done):
      key = tf.random.stateless_uniform(
        [], tf.stack([tf.cast(config.seed, tf.int64), epoch]), None, None, tf.int64, alg='philox'
      )
      encoded = read_records(self._builder, part, shuffle_seed=key)
      buffer = max(config.data.shuffle_buffer, 1)
      encoded = encoded.shuffle(buffer, seed=key, reshuffle_each_iteration=False)
      encoded = encoded.take(steps * rows).skip(done).enumerate(done)
      return encoded.map(
        lambda place, record: (
          record | {'seed': tf.stack([key, place * shard.num_hosts + shard.host])}
        )
      )

    def records(skipped):
      first, done = divmod(start + skipped, steps)
      skip, nothing = tf.constant(done * rows, tf.int64), tf.constant(0, tf.int64)
      epochs = tf.data.Dataset.counter(first)
      return epochs.flat_map(
        lambda epoch: epoch_records(epoch, tf.where(epoch == first, skip, nothing))
      )

    transform = pipeline.train_transform(config, tf.identity, image_size)
    return pipeline.batches(
      records, transform, rows, threads=config.data.decode_threads, steps=limit,
      corrupt=CorruptImages(config.data.max_bad, self.info.train.num_examples),
    )


class ArrayRecordSplit:
  """A split of array_record files; see `pipeline.IndexedSplit`."""

  def __init__(self, builder, split: str):
    self._name = f'{builder.name} {split}'
    self._records = builder.as_data_source(split=split, decoders=_image_decoders(builder))
    self._label, self._classes, self._multi_label = label_feature(builder)

  def __len__(self) -> int:
    return len(self._records)

  def fetch(self, indices: np.ndarray) -> dict[str, Any]:
    """Returns {'data': encoded images, 'label': int32 [n] or bool [n, classes], 'name'}."""
    examples = self._records.__getitems__([int(index) for index in indices])
    labels = [example[self._label] for example in examples]
    if self._multi_label:
      hot = np.zeros((len(labels), self._classes.num_classes), bool)
      for row, own in zip(hot, labels, strict=True):
        row[np.asarray(own, int)] = True
    return {
      'data': np.array([example['image'] for example in examples], object),
      'label': hot if self._multi_label else np.array(labels, np.int32),
      'name': np.array([f'{self._name}, image {index}' for index in indices], object),
    }

  def read(self, data):
    """Returns `data`, which is the encoded image itself."""
    return data


def label_feature(builder) -> tuple:
  """Finds the feature that labels the images: 'label', or 'real_label' of imagenet2012_real.

  Returns:
    (key, ClassLabel, multi_label): multi_label if an image has any number of labels.

  Raises:
    UserError: a data set without images or without labels.
  """
  features = builder.info.features
  known = dict(features.items())
  key = 'real_label' if 'real_label' in known else 'label'
  label = known.get(key)
  multi_label = isinstance(label, tfds.features.Sequence)
  label = label.feature if multi_label else label
  if 'image' not in features or not isinstance(label, tfds.features.ClassLabel):
    raise UserError(
      f"{builder.name} has no features 'image' and 'label'; it has {', '.join(features)}"
    )
  return key, label, multi_label


def _image_decoders(builder) -> dict:
  """Returns the decoders that leave every image encoded."""
  features = builder.info.features.items()
  images = [name for name, feature in features if isinstance(feature, tfds.features.Image)]
  return {name: tfds.decode.SkipDecoding() for name in images}
