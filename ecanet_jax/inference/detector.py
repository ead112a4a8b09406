"""A trained detector with its preprocessing and the names of its classes."""

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ecanet_jax.checkpoints.files import newest_meta
from ecanet_jax.config.stored import FILE, from_plain, read_config
from ecanet_jax.data.detection.annotations import Instances
from ecanet_jax.data.detection.buckets import bucket_of
from ecanet_jax.data.detection.open import settings_of
from ecanet_jax.data.detection.settings import Settings
from ecanet_jax.data.detection.transforms import prepare
from ecanet_jax.data.label_names import coco_for
from ecanet_jax.detection.from_config import is_detector
from ecanet_jax.detection.networks.detector import Detector
from ecanet_jax.inference.images import Picture, read_image
from ecanet_jax.ops import select_backend
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import lookup
from ecanet_jax.runtime.log import log
from ecanet_jax.tasks.detection.detection import detections_of, normalised
from ecanet_jax.tasks.detection.detections import Detections
from ecanet_jax.weights.files.formats import WRAPPERS
from ecanet_jax.weights.loaded_weights import LoadedWeights, read_weights

NOTHING = Instances(np.zeros((0, 4), np.float32), np.zeros((0,), np.int32))


@dataclasses.dataclass(frozen=True)
class TrainedDetector:
  """A detector that finds objects on pictures.

  Attributes:
    model: the Flax module.
    variables: {'params', 'batch_stats'}.
    settings: how pictures are resized and padded.
    mean: of the RGB channels, for images in 0..1.
    std: likewise.
    label_names: of the classes.
    exif: `ignore` or `apply` the EXIF orientation.
    name: of the network; '' = not known.
  """

  model: Detector
  variables: Any
  settings: Settings
  mean: tuple[float, ...]
  std: tuple[float, ...]
  label_names: tuple[str, ...]
  exif: str = 'ignore'
  name: str = ''

  def image(self, picture: Picture) -> np.ndarray:
    """A picture as uint8 `[H, W, 3]`; see `inference.images.read_image`."""
    return np.asarray(read_image(picture, self.exif))

  def find(self, image: np.ndarray) -> Detections:
    """The objects on an image, the best first, in its own pixels; masks if the network has them.

    Args:
      image: uint8 `[H, W, 3]`.
    """
    height, width = image.shape[:2]
    settings = dataclasses.replace(self.settings, masks='none')
    arrays = prepare(image, NOTHING, settings, bucket_of(height, width, settings))
    found, masks = jax.device_get(self._program(
      self.variables, arrays['image'][None], arrays['image_size'][None]
    ))
    one = {name: getattr(found, name)[0] for name in found._fields} | {'scale': arrays['scale']}
    if masks is not None:
      one['masks'] = masks[0]
    return detections_of(one, 0, (height, width), self.model.preset)

  @functools.cached_property
  def _program(self):
    """One compiled program for each bucket, with the fastest backend of the first device."""
    backend = select_backend('auto', jax.devices()[:1])
    model = self.model.clone(backbone=self.model.backbone.clone(backend=backend))
    mean, std = (jnp.asarray(each, jnp.float32) for each in (self.mean, self.std))

    def compute(variables, images, sizes):
      images = normalised(images, sizes, mean, std)
      return model.apply(variables, images, train=False, image_sizes=sizes)

    return jax.jit(compute)


def is_detector_training(workdir: str | os.PathLike) -> bool:
  """Whether a directory has the training of a detector, or converted weights of one."""
  path = paths.to_path(workdir)
  with paths.answers(path):
    if not path.is_dir():
      return False
    if (path / FILE).is_file():
      return is_detector(read_config(path).model.name)
  stored = newest_meta(path)
  for key in ('config', 'model', 'name'):  # a damaged meta may have anything there
    stored = stored.get(key) if isinstance(stored, dict) else None
  return is_detector(stored)


def _config_of(path: paths.Path) -> ConfigDict:
  """The config of a training, or that in converted weights."""
  with paths.answers(path):
    is_training = (path / FILE).is_file()
  if not is_training and (stored := newest_meta(path).get('config')):
    return from_plain(stored)
  return read_config(path)


def load_detector(
  workdir: str | os.PathLike, *, kind: str = 'ema', checkpoint: int | str = 'last'
) -> TrainedDetector:
  """Loads the detector of a training.

  Args:
    workdir: of the training, or a directory of converted weights.
    kind: 'ema' = the averaged weights, where there are any; 'raw' = the weights as trained.
    checkpoint: 'last', 'best' or a step.

  Raises:
    UserError: an unknown kind, there is no such training or step, or it is damaged.
  """
  lookup(WRAPPERS, kind, 'kind')
  loaded = read_weights(workdir, kind=kind, step=checkpoint)
  config = _config_of(paths.to_path(workdir))
  return TrainedDetector(
    loaded.create(), jax.device_put(loaded.variables), settings_of(config, with_masks=False),
    tuple(loaded.data['mean']), tuple(loaded.data['std']), _names(workdir, loaded),
    config.data.exif, loaded.model['name'],
  )


def _names(workdir: str | os.PathLike, loaded: LoadedWeights) -> tuple[str, ...]:
  """The names of the classes; those of COCO or numbers, if there are none."""
  classes = loaded.model['num_classes']
  if loaded.label_names:
    return tuple(loaded.label_names)
  if names := coco_for(classes):
    log.info('%s stores no class names; its %d classes get those of COCO', workdir, classes)
  return names or tuple(map(str, range(classes)))


def as_json(found: Detections, names: Sequence[str], least: float = 0.0) -> list[dict[str, Any]]:
  """Detections as JSON objects: label, name, score, box (x1, y1, x2, y2), and mask (run lengths).

  Args:
    found: of one image.
    names: of the classes.
    least: detections with a lower score are left out.
  """
  objects = []
  for place in np.flatnonzero(np.asarray(found.scores) >= least):
    label = int(found.labels[place])
    one = {
      'label': label, 'name': names[label], 'score': float(found.scores[place]),
      'box': [round(float(side), 2) for side in found.boxes[place]],
    }
    objects.append(one if found.masks is None else {**one, 'mask': found.masks[place]})
  return objects
