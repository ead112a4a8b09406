"""Opens the images with boxes and masks of a configuration."""

from ml_collections import ConfigDict

from ecanet_jax.data.detection.annotations import DetectionSplit
from ecanet_jax.data.detection.dataset import DetectionDataset
from ecanet_jax.data.detection.masks import coco_mask
from ecanet_jax.data.detection.settings import Settings
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, lookup

MULTIPLE = 32  # of a bucket's sides, in pixels: the coarsest stage of a backbone


def open_detection(config: ConfigDict, with_masks: bool) -> DetectionDataset:
  """Opens the data set of a detector's configuration, and checks all annotations.

  Args:
    config: the whole configuration; seed, batch_size, accumulate, data and detection are used.
    with_masks: whether the detector learns masks.

  Raises:
    UserError: an unknown source, keys that do not fit, pycocotools is not installed, or annotations
      that are wrong; one line counts and names them.
  """
  make = lookup(SOURCES, config.data.source, 'source (data.source)')
  settings = settings_of(config, with_masks)
  coco_mask()  # says now, not after an epoch, that its package is missing
  train, evaluation = make(config, settings)
  return DetectionDataset(
    settings, train, evaluation, batch_size=config.batch_size, seed=config.seed,
    accumulate=config.accumulate, threads=config.data.decode_threads, config=config,
  )


def settings_of(config: ConfigDict, with_masks: bool) -> Settings:
  """How the images of a configuration are prepared.

  Raises:
    UserError: a key that is wrong, or does not fit another one.
  """
  section = config.detection
  buckets = section.buckets
  try:
    buckets = tuple((int(height), int(width)) for height, width in buckets)
    right = bool(buckets) and all(
      side >= 1 and side % MULTIPLE == 0 for size in buckets for side in size)
  except (TypeError, ValueError):
    right = False
  if not right:
    raise UserError(
      f'detection.buckets={section.buckets} must be pairs of a height and a width, each a multiple '
      f'of {MULTIPLE}, such as ((800, 1344), (1344, 800)).'
    )
  names = ('shorter', 'longer', 'max_boxes', 'mask_size', 'empty', 'min_side')
  try:
    return Settings(
      buckets=buckets, masks=section.masks if with_masks else 'none', flip=config.data.flip,
      scale=tuple(section.scale), **{name: section[name] for name in names},
    )
  except UserError as error:
    raise UserError(f'detection: {error}') from error


def _scenes(config, settings: Settings) -> tuple[DetectionSplit, DetectionSplit]:
  from ecanet_jax.data.detection.digit_scenes import SceneSplit

  section = config.detection
  return (
    SceneSplit('train', config.seed, section.train_scenes),
    # The evaluation scenes do not depend on the seed of a training.
    SceneSplit('validation', 0, section.eval_scenes),
  )


def _coco(config, settings: Settings) -> tuple[DetectionSplit, DetectionSplit]:
  from ecanet_jax.data.detection.coco_split import CocoFolderSplit

  data = config.data
  return tuple(
    CocoFolderSplit(file, _folder(data.data_dir, split), settings, data.max_bad)
    for split, file in zip((data.train_split, data.eval_split), _jsons(config))
  )


def _coco_tfds(config, settings: Settings) -> tuple[DetectionSplit, DetectionSplit]:
  from ecanet_jax.data.detection.tfds_coco import TfdsCocoSplit  # imports TensorFlow

  data, files = config.data, _jsons(config)
  return tuple(
    TfdsCocoSplit(data.name, data.data_dir, split, file, settings, data.max_bad)
    for split, file in zip((data.train_split, data.eval_split), files)
  )


def _folder(data_dir: str, split: str) -> str:
  """The folder of a split below the data, if there is one; else that of the data."""
  if not data_dir:
    raise UserError(
      "data.data_dir is missing: data.source='coco' needs the folder of the images, "
      '--config.data.data_dir=DIR.'
    )
  folder = paths.to_path(data_dir) / split
  with paths.answers(folder):
    return str(folder) if split and folder.is_dir() else data_dir


def _jsons(config) -> tuple[str, str]:
  for name in ('train_json', 'eval_json'):
    if not config.data[name]:
      raise UserError(
        f'data.{name} is missing: data.source={config.data.source!r} needs the COCO JSON of the '
        f'images, --config.data.{name}=instances.json.'
      )
  return config.data.train_json, config.data.eval_json


SOURCES = {'scenes': _scenes, 'coco': _coco, 'coco_tfds': _coco_tfds}
