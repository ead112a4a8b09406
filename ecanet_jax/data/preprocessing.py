"""Named preprocessing: how published weights expect their evaluation images.

Weights reach their published accuracy only with the preprocessing of their training. A checkpoint
stores it in its config, a folder in its config.json. A file stores none: it gets one of these.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ecanet_jax.runtime.errors import lookup

# The keys of a recipe's `data` section that are preprocessing.
KEYS = ('mean', 'std', 'interpolation', 'crop_fraction', 'image_size')
# Those that weights need not have, and what counts without them.
OPTIONAL = {'crop_mode': 'center', 'exif': 'ignore'}
# 'center': the image keeps its proportions; 'squash': it becomes a square. timm has these names.
CROP_MODES = {mode: mode for mode in ('center', 'squash')}

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BORDER = 32  # pixels that tensorflow/tpu's centre crop leaves out of the side, at every size


@dataclasses.dataclass(frozen=True)
class Preprocessing:
  """One way to prepare evaluation images.

  Attributes:
    source: the code that the values come from.
    mean: of the RGB channels, for images in 0..1.
    std: of the RGB channels.
    interpolation: 'bicubic' or 'bilinear'.
    crop_fraction: side of the centre crop / shorter side of the image; None = size / (size + 32).
  """

  source: str
  mean: tuple[float, ...]
  std: tuple[float, ...]
  interpolation: str
  crop_fraction: float | None = 0.875

  def data(self, image_size: int) -> dict[str, Any]:
    """Returns KEYS of a recipe's `data` section, as JSON values, for an image size in pixels."""
    crop = self.crop_fraction or round(image_size / (image_size + BORDER), 4)
    return {
      'mean': list(self.mean), 'std': list(self.std), 'interpolation': self.interpolation,
      'crop_fraction': crop, 'image_size': image_size,
    }


PREPROCESSING: dict[str, Preprocessing] = {
  'tf': Preprocessing(
    'tensorflow/tpu models/official/efficientnet: preprocessing.py (CROP_PADDING 32, bicubic), '
    'efficientnet_builder.py (MEAN_RGB, STDDEV_RGB)',
    IMAGENET_MEAN, IMAGENET_STD, 'bicubic', None,
  ),
  'lite': Preprocessing(
    'tensorflow/tpu models/official/efficientnet: lite/efficientnet_lite_builder.py (127 and 128 '
    'of 255), main.py (bilinear in training and evaluation)',
    (127 / 255,) * 3, (128 / 255,) * 3, 'bilinear', None,
  ),
  'timm': Preprocessing(
    'timm/data/constants.py: DEFAULT_CROP_PCT and the ImageNet statistics; bicubic',
    IMAGENET_MEAN, IMAGENET_STD, 'bicubic',
  ),
  'torchvision': Preprocessing(
    'pytorch/vision references/classification/presets.py: shorter side 256, crop 224, bilinear; '
    'BangguWu/ECANet main.py the same',
    IMAGENET_MEAN, IMAGENET_STD, 'bilinear', 224 / 256,
  ),
  # Normalization(variance=STD) divides by sqrt(STD). With weights='imagenet', and only then,
  # Rescaling(1 / sqrt(STD)) divides by it again: together by STD. A network trained from scratch
  # in Keras has only the first; its std is sqrt(STD), set it with --config.data.std.
  'keras': Preprocessing(
    'keras/src/applications/efficientnet.py with weights="imagenet", ported from tensorflow/tpu '
    '(keras#14950)',
    IMAGENET_MEAN, IMAGENET_STD, 'bicubic', None,
  ),
  'inception': Preprocessing(
    'tensorflow/models research/slim/preprocessing/inception_preprocessing.py: preprocess_for_eval',
    (0.5,) * 3, (0.5,) * 3, 'bilinear',
  ),
}

# Dialect of a file -> the preprocessing of that code.
BY_DIALECT = {
  'lukemelas': 'tf', 'tf1': 'tf', 'keras': 'keras', 'torchvision': 'torchvision',
  'cadene': 'torchvision', 'ecanet': 'torchvision', 'moskomule': 'torchvision',
}


def find_preprocessing(name: str) -> Preprocessing:
  """Returns the preprocessing of this name.

  Raises:
    UserError: an unknown name.
  """
  return lookup(PREPROCESSING, name, 'preprocessing')


def default_preprocessing(network: str, dialect: str = 'timm') -> str:
  """Returns the name of the preprocessing for a file of this network, by its name and dialect."""
  if network.startswith('tf_efficientnet_lite') and dialect != 'keras':
    return 'lite'
  if 'inception_resnet' in network:
    return 'inception'
  if dialect in BY_DIALECT:
    return BY_DIALECT[dialect]
  if network.startswith('tf_'):
    return 'tf'
  return 'torchvision' if network.startswith(('vgg', 'legacy_')) else 'timm'


def preprocessing_of(section: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the preprocessing in a `data` section: KEYS, and what is unusual of OPTIONAL."""
  found = {key: section[key] for key in KEYS if key in section}
  return found | {
    key: section[key] for key, usual in OPTIONAL.items() if section.get(key, usual) != usual
  }


def describe(data: Mapping[str, Any]) -> str:
  """Returns the preprocessing of a `data` section in words."""
  numbers = lambda values: '(' + ', '.join(f'{value:.4g}' for value in values) + ')'
  squashed = ', squashed' if data.get('crop_mode') == 'squash' else ''
  return (
    f'mean {numbers(data["mean"])}, std {numbers(data["std"])}, {data["interpolation"]}, '
    f'centre crop {data["crop_fraction"]:.4g}, {data["image_size"]} px{squashed}'
    + (', EXIF orientation applied' if data.get('exif') == 'apply' else '')
  )
