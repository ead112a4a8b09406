"""Named preprocessing of published weights: what their images must be when they are evaluated.

Weights give their published accuracy only with the preprocessing that they were trained for, so it
travels with them: in the config of a checkpoint and in the config.json of a folder. A bare file
has none; then one of these is taken.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ecanet_jax.runtime.errors import lookup

KEYS = ('mean', 'std', 'interpolation', 'crop_fraction', 'image_size')  # of a recipe's `data`

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BORDER = 32  # pixels around the centre crop of tensorflow/tpu, whatever the image size


@dataclasses.dataclass(frozen=True)
class Preset:
  """One way to prepare images.

  Attributes:
    source: the code that the values are of.
    mean: RGB, of images in 0..1.
    std: RGB.
    interpolation: 'bicubic' or 'bilinear'.
    crop_fraction: centre crop's side / image's shorter side; None: size / (size + 32).
  """

  source: str
  mean: tuple[float, ...]
  std: tuple[float, ...]
  interpolation: str
  crop_fraction: float | None = 0.875

  def data(self, image_size: int) -> dict[str, Any]:
    """The keys of a recipe's `data` section for images of so many pixels, as JSON has them."""
    crop = self.crop_fraction or round(image_size / (image_size + BORDER), 4)
    return {
      'mean': list(self.mean), 'std': list(self.std), 'interpolation': self.interpolation,
      'crop_fraction': crop, 'image_size': image_size,
    }


PRESETS: dict[str, Preset] = {
  'tf': Preset(
    'tensorflow/tpu models/official/efficientnet: preprocessing.py (CROP_PADDING 32, bicubic), '
    'efficientnet_builder.py (MEAN_RGB, STDDEV_RGB)',
    IMAGENET_MEAN, IMAGENET_STD, 'bicubic', None,
  ),
  'lite': Preset(
    'tensorflow/tpu models/official/efficientnet: lite/efficientnet_lite_builder.py (127 and 128 '
    'of 255), main.py (bilinear in training and evaluation)',
    (127 / 255,) * 3, (128 / 255,) * 3, 'bilinear', None,
  ),
  'timm': Preset(
    'timm/data/constants.py: DEFAULT_CROP_PCT and the ImageNet statistics; bicubic',
    IMAGENET_MEAN, IMAGENET_STD, 'bicubic',
  ),
  'torchvision': Preset(
    'pytorch/vision references/classification/presets.py: shorter side 256, crop 224, bilinear; '
    'BangguWu/ECANet main.py the same',
    IMAGENET_MEAN, IMAGENET_STD, 'bilinear', 224 / 256,
  ),
  # Normalization(variance=STD) divides by sqrt(STD), and Rescaling(1 / sqrt(STD)), which is there
  # for weights='imagenet' alone, divides by it again: together by STD. A network that was trained
  # in Keras from scratch lacks the second; its std is sqrt(STD), to be given by hand.
  'keras': Preset(
    'keras/src/applications/efficientnet.py with weights="imagenet", which are those of '
    'tensorflow/tpu (keras#14950)',
    IMAGENET_MEAN, IMAGENET_STD, 'bicubic', None,
  ),
  'inception': Preset(
    'tensorflow/models research/slim/preprocessing/inception_preprocessing.py: preprocess_for_eval',
    (0.5,) * 3, (0.5,) * 3, 'bilinear',
  ),
}

# The preset of a file whose names are of this code; the network's own name goes before.
BY_DIALECT = {
  'lukemelas': 'tf', 'tf1': 'tf', 'keras': 'keras', 'torchvision': 'torchvision',
  'cadene': 'torchvision', 'ecanet': 'torchvision', 'moskomule': 'torchvision',
}


def preset(name: str) -> Preset:
  """The preset of this name.

  Raises:
    UserError: an unknown name.
  """
  return lookup(PRESETS, name, 'preset')


def default_preset(network: str, dialect: str = 'timm') -> str:
  """The name of the preset for a file of this network that says nothing itself."""
  if network.startswith('tf_efficientnet_lite') and dialect != 'keras':
    return 'lite'
  if 'inception_resnet' in network:
    return 'inception'
  if dialect in BY_DIALECT:
    return BY_DIALECT[dialect]
  if network.startswith('tf_'):
    return 'tf'
  return 'torchvision' if network.startswith(('vgg', 'legacy_')) else 'timm'


def describe(data: Mapping[str, Any]) -> str:
  """The preprocessing of a `data` section in words."""
  numbers = lambda values: '(' + ', '.join(f'{value:.4g}' for value in values) + ')'
  return (
    f'mean {numbers(data["mean"])}, std {numbers(data["std"])}, {data["interpolation"]}, '
    f'centre crop {data["crop_fraction"]:.4g}, {data["image_size"]} px'
  )
