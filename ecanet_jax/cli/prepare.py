"""python -m ecanet_jax prepare: writes a TFDS data set to disk and verifies it.

The check reads every record of every split, compares the counts, checks every label, and decodes
every image of a small split or an even sample of a large one (`--verify=full`: every image). It
uses the network if the data set can be downloaded.
"""

import argparse
import re
import tarfile

import numpy as np

from ecanet_jax.cli.training_packages import check_packages
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, one_line

SMALL = 20_000  # splits of up to this many images are decoded completely
SAMPLE = 2_000  # images to decode of a larger split
IMAGENET_COUNTS = {'train': 1_281_167, 'validation': 50_000}  # ILSVRC2012, table 2 of 1409.0575


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's arguments to `parser`."""
  parser.add_argument('--dataset', required=True, help='TFDS name, such as imagenet2012 or digits')
  parser.add_argument('--data_dir', default='', help="where to write; default: TFDS's own")
  parser.add_argument(
    '--manual_dir', default='', help='files that you downloaded, such as the ImageNet tars'
  )
  parser.add_argument(
    '--file_format',
    choices=('tfrecord', 'array_record'),
    help='array_record can be read at random: resuming costs nothing (default: tfrecord)',
  )
  parser.add_argument('--verify', choices=('sample', 'full'), default='sample')
  parser.add_argument('--verify_only', action='store_true', help='check, and write nothing')


def run(args: argparse.Namespace) -> int:
  """Prepares and verifies the data set; prints one line per split.

  Returns:
    0: every check passed.

  Raises:
    UserError: an unknown name, missing or bad files, or data that fail the check.
  """
  if args.file_format == 'array_record' and paths.is_remote(args.data_dir):
    raise UserError(
      '--file_format=array_record writes to local disks only, and '
      f'--data_dir={args.data_dir} is in a bucket; give --file_format=tfrecord.'
    )
  check_packages()
  from ecanet_jax.data import tfds_builders
  from ecanet_jax.data.sources import tfds as prepared

  base = prepared.require_known(args.dataset)
  tfds_builders.register(base)
  try:
    builder = prepared.open_builder(args.dataset, args.data_dir)
  except UserError:
    if args.verify_only:
      raise
    builder = None
  if builder is None:
    _prepare(args, base)
    builder = prepared.open_builder(args.dataset, args.data_dir)
  else:
    found = builder.info.file_format.value
    if args.file_format not in (None, found):
      raise UserError(
        f'{args.dataset} is already prepared as {found} in {builder.data_dir}; '
        f'for {args.file_format} use another --data_dir'
      )
    print(f'{args.dataset} is already prepared in {builder.data_dir} ({found}); verifying')
  return verify(builder, full=args.verify == 'full')


def verify(builder, *, full: bool = False) -> int:
  """Checks every split of a prepared data set against its own description; returns 0.

  Args:
    builder: a TFDS builder whose data are on disk.
    full: decode every image, however large the split is.

  Raises:
    UserError: a count, a label or an image is wrong.
  """
  from ecanet_jax.data.sources import tfds as prepared

  if not builder.info.splits:
    raise UserError(f'{builder.data_dir} has no splits')
  if 'objects' in builder.info.features:
    return _verify_objects(builder, full)
  _, label, _ = prepared.label_feature(builder)
  for name, split in builder.info.splits.items():
    if not split.num_examples:
      raise UserError(f'{builder.data_dir}: split {name!r} is empty')
    stride = _stride(split.num_examples, full)
    labels = _read(builder, name, stride)
    where = f'{builder.name} {name}'
    if len(labels) != split.num_examples:
      raise UserError(f'{where}: {len(labels):,} records, {split.num_examples:,} expected')
    if labels.ndim == 2:  # any number of labels, one column for each class
      labels = np.nonzero(labels)[1]
    unlabelled = name == 'test' and (labels == -1).all()  # ImageNet's test split has no labels
    if not unlabelled and labels.size and (labels.min() < 0 or labels.max() >= label.num_classes):
      raise UserError(
        f'{where}: labels {labels.min()}..{labels.max()}; {label.num_classes} classes expected'
      )
    note = _imagenet_note(builder.name, name, labels)
    present = 'no' if unlabelled else f'{len(np.unique(labels)):,} of {label.num_classes:,}'
    print(
      f'{where}: {split.num_examples:,} images, {present} classes, '
      f'{-(-split.num_examples // stride):,} images decoded, ok{note}'
    )
  return 0


def _stride(images: int, full: bool) -> int:
  """One image in so many is decoded."""
  return 1 if full or images <= SMALL else images // SAMPLE


def _verify_objects(builder, full: bool) -> int:
  """Checks the counts and the images of a data set for detection; returns 0."""
  from ecanet_jax.data.image_files import decode
  from ecanet_jax.data.tfdata.tf_import import tensorflow_datasets

  skip = {'image': tensorflow_datasets().decode.SkipDecoding()}
  for name, split in builder.info.splits.items():
    where, stride = f'{builder.name} {name}', _stride(split.num_examples, full)
    images = objects = 0
    if builder.info.file_format.value == 'array_record':
      examples = builder.as_data_source(split=name, decoders=skip)
    else:
      examples = builder.as_dataset(split=name, decoders=skip).as_numpy_iterator()
    for example in examples:
      if images % stride == 0:
        try:
          decode(example['image'])
        except UserError as error:
          raise UserError(f'{where}, image {images}: {error}') from None
      images, objects = images + 1, objects + len(example['objects']['label'])
    if images != split.num_examples:
      raise UserError(f'{where}: {images:,} records, {split.num_examples:,} expected')
    print(
      f'{where}: {images:,} images, {objects:,} objects, {-(-images // stride):,} images decoded, '
      'ok'
    )
  return 0


def _read(builder, split: str, stride: int) -> np.ndarray:
  """Reads all records, decodes one in `stride`, and returns the labels, int32 [n]."""
  from ecanet_jax.data.sources import tfds as prepared
  from ecanet_jax.data.tfdata import decode, pipeline

  tf = decode.tf

  def check(record):
    pixels = tf.cond(
      tf.equal(record['place'] % stride, 0),
      lambda: tf.size(decode.decode(record['data'])),
      lambda: 0,
    )
    return {'label': record['label'], 'pixels': pixels}

  rows = 256
  in_order = prepared.records_in_order(builder, split, rows)

  def records(skipped):
    numbered = in_order(skipped).enumerate(skipped * rows)
    return numbered.map(lambda place, record: record | {'place': place})

  labels = [batch['label'] for batch in pipeline.batches(records, check, rows, threads=0)]
  return np.concatenate(labels) if labels else np.zeros((0,), np.int32)


def _imagenet_note(dataset: str, split: str, labels: np.ndarray) -> str:
  if dataset != 'imagenet2012' or split not in IMAGENET_COUNTS:
    return ''
  if len(labels) != IMAGENET_COUNTS[split]:
    return f' (not the whole of ImageNet: {IMAGENET_COUNTS[split]:,} images)'
  per_class = np.bincount(labels, minlength=1000)
  low, high = {'train': (732, 1300), 'validation': (50, 50)}[split]
  if per_class.min() < low or per_class.max() > high:
    raise UserError(
      f'imagenet2012 {split}: {per_class.min()} to {per_class.max()} images per class; '
      f'ImageNet has {low} to {high}'
    )
  return ''


def _prepare(args: argparse.Namespace, base: str) -> None:
  from ecanet_jax.data.sources import tfds as prepared
  from ecanet_jax.data.tfdata import tf_import

  tfds = tf_import.tensorflow_datasets()
  directory = prepared.data_directory(args.data_dir)
  manual = paths.to_path(args.manual_dir or f'{directory}/downloads/manual')
  if base in prepared.MANUAL_FILES:
    _check_tars(manual, prepared.MANUAL_FILES[base])
  try:
    builder = tfds.builder(
      args.dataset, data_dir=directory, file_format=args.file_format or 'tfrecord'
    )
    options = tfds.download.DownloadConfig(manual_dir=str(manual))
    with paths.answers(directory):
      builder.download_and_prepare(download_config=options)
  except (UserError, paths.StoreError):
    raise
  except (AssertionError, KeyError, OSError, RuntimeError, ValueError, tarfile.TarError) as error:
    raise UserError(
      f'{args.dataset} cannot be prepared: {type(error).__name__}: {one_line(error, 400)}'
    ) from error


def _check_tars(manual: paths.Path, names: tuple[str, ...]) -> None:
  """Checks that ImageNet's archives exist and are whole and the original ones."""
  archives = [manual / name for name in names]
  with paths.answers(manual):
    missing = [str(path) for path in archives if not path.is_file()]
  if missing:
    raise UserError(
      f'missing {" and ".join(missing)}; get {" and ".join(names)} from '
      'https://image-net.org/download-images and give their folder with --manual_dir'
    )
  members = (
    (r'n\d{8}\.tar', 'n01440764.tar'),
    (r'ILSVRC2012_val_\d{8}\.JPEG', 'ILSVRC2012_val_00000001.JPEG'),
  )
  for path, (pattern, example) in zip(archives, members, strict=True):
    try:
      with paths.answers(path), path.open('rb') as file, tarfile.TarFile(fileobj=file) as archive:
        for member in archive:
          if not re.fullmatch(pattern, member.name):
            raise UserError(
              f'{path} is not the original archive: it contains {member.name!r}, '
              f'not names like {example!r}; download it again'
            )
    except tarfile.TarError as error:
      raise UserError(f'{path} is damaged or incomplete ({error}); download it again') from error
