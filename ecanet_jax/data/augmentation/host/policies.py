"""The published augmentation policies as tables: operations, probabilities, levels.

A sub-policy is a sequence of (operation, probability, level) with levels up to `top`. Levels are as
published, also where the operation ignores them (equalize, autocontrast, invert).
"""

import dataclasses

SubPolicy = tuple[tuple[str, float, int], ...]


@dataclasses.dataclass(frozen=True)
class Policy:
  """One policy.

  Attributes:
    source: the code that the values come from.
    convention: the meaning of a level; see `operations`.
    top: the highest level.
    sub_policies: AutoAugment: one of these is chosen for each image.
    operations: RandAugment and TrivialAugment: each layer chooses one of these.
    always: a chosen operation is always applied; otherwise with `augment.probability`.
    bins: TrivialAugment: number of random levels; 0 = the level is `augment.magnitude`.
    interpolation: nearest | bilinear | bicubic. timm's default is bilinear or bicubic at random.
    fill: levels of pixels outside the image; () = `data.mean`, as in timm.
  """

  source: str
  convention: str
  top: float
  sub_policies: tuple[SubPolicy, ...] = ()
  operations: tuple[str, ...] = ()
  always: bool = True
  bins: int = 0
  interpolation: str = 'nearest'
  fill: tuple[int, ...] = (0, 0, 0)


IMAGENET_V0: tuple[SubPolicy, ...] = (
  (('equalize', 0.8, 1), ('shear_y', 0.8, 4)),
  (('color', 0.4, 9), ('equalize', 0.6, 3)),
  (('color', 0.4, 1), ('rotate', 0.6, 8)),
  (('solarize', 0.8, 3), ('equalize', 0.4, 7)),
  (('solarize', 0.4, 2), ('solarize', 0.6, 2)),
  (('color', 0.2, 0), ('equalize', 0.8, 8)),
  (('equalize', 0.4, 8), ('solarize_add', 0.8, 3)),
  (('shear_x', 0.2, 9), ('rotate', 0.6, 8)),
  (('color', 0.6, 1), ('equalize', 1.0, 2)),
  (('invert', 0.4, 9), ('rotate', 0.6, 0)),
  (('equalize', 1.0, 9), ('shear_y', 0.6, 3)),
  (('color', 0.4, 7), ('equalize', 0.6, 0)),
  (('posterize', 0.4, 6), ('autocontrast', 0.4, 7)),
  (('solarize', 0.6, 8), ('color', 0.6, 9)),
  (('solarize', 0.2, 4), ('rotate', 0.8, 9)),
  (('rotate', 1.0, 7), ('translate_y', 0.8, 9)),
  (('shear_x', 0.0, 0), ('solarize', 0.8, 4)),
  (('shear_y', 0.8, 0), ('color', 0.6, 4)),
  (('color', 1.0, 0), ('rotate', 0.6, 2)),
  (('equalize', 0.8, 4), ('equalize', 0.0, 8)),
  (('equalize', 1.0, 4), ('autocontrast', 0.6, 2)),
  (('shear_y', 0.4, 7), ('solarize_add', 0.6, 7)),
  (('posterize', 0.8, 2), ('solarize', 0.6, 10)),
  (('solarize', 0.6, 8), ('equalize', 0.6, 1)),
  (('color', 0.8, 6), ('rotate', 0.4, 5)),
)

CIFAR10: tuple[SubPolicy, ...] = (
  (('invert', 0.1, 0), ('contrast', 0.2, 6)),
  (('rotate', 0.7, 2), ('translate_x', 0.3, 9)),
  (('sharpness', 0.8, 1), ('sharpness', 0.9, 3)),
  (('shear_y', 0.5, 8), ('translate_y', 0.7, 9)),
  (('autocontrast', 0.5, 0), ('equalize', 0.9, 0)),
  (('shear_y', 0.2, 7), ('posterize', 0.3, 7)),
  (('color', 0.4, 3), ('brightness', 0.6, 7)),
  (('sharpness', 0.3, 9), ('brightness', 0.7, 9)),
  (('equalize', 0.6, 0), ('equalize', 0.5, 0)),
  (('contrast', 0.6, 7), ('sharpness', 0.6, 5)),
  (('color', 0.7, 7), ('translate_x', 0.5, 8)),
  (('equalize', 0.3, 0), ('autocontrast', 0.4, 0)),
  (('translate_y', 0.4, 3), ('sharpness', 0.2, 6)),
  (('brightness', 0.9, 6), ('color', 0.2, 8)),
  (('solarize', 0.5, 2), ('invert', 0.0, 0)),
  (('equalize', 0.2, 0), ('autocontrast', 0.6, 0)),
  (('equalize', 0.2, 0), ('equalize', 0.6, 0)),
  (('color', 0.9, 9), ('equalize', 0.6, 0)),
  (('autocontrast', 0.8, 0), ('solarize', 0.2, 8)),
  (('brightness', 0.1, 3), ('color', 0.7, 0)),
  (('solarize', 0.4, 5), ('autocontrast', 0.9, 0)),
  (('translate_y', 0.9, 9), ('translate_y', 0.7, 9)),
  (('autocontrast', 0.9, 0), ('solarize', 0.8, 3)),
  (('equalize', 0.8, 0), ('invert', 0.1, 0)),
  (('translate_y', 0.7, 9), ('autocontrast', 0.9, 0)),
)

_TF = {'convention': 'tf', 'top': 10.0, 'fill': (128, 128, 128)}
# The paper goes to 30; TensorFlow's code has no limit.
_TF_RAND = _TF | {'convention': 'tf_rand', 'top': 30.0}

POLICIES: dict[str, Policy] = {
  'autoaugment': Policy(
    'tensorflow/tpu models/official/efficientnet/autoaugment.py: policy_v0, and AutoAugment v0 of '
    'timm/data/auto_augment.py, which translates by a part of the image', **_TF,
    sub_policies=IMAGENET_V0,
  ),
  'autoaugment_cifar': Policy(
    'Cubuk et al., 1805.09501, Table 7, as torchvision has it: AutoAugmentPolicy.CIFAR10',
    'torchvision', 9.0, sub_policies=CIFAR10,
  ),
  'randaugment_tf': Policy(
    'tensorflow/tpu models/official/efficientnet/autoaugment.py: distort_image_with_randaugment',
    **_TF_RAND,
    operations=(
      'autocontrast', 'equalize', 'invert', 'rotate', 'posterize', 'solarize', 'color', 'contrast',
      'brightness', 'sharpness', 'shear_x', 'shear_y', 'translate_x', 'translate_y', 'cutout',
      'solarize_add',
    ),
  ),
  'randaugment': Policy(
    'timm/data/auto_augment.py: rand_augment_transform', 'timm', 10.0,
    operations=(
      'autocontrast', 'equalize', 'invert', 'rotate', 'posterize', 'solarize', 'solarize_add',
      'color', 'contrast', 'brightness', 'sharpness', 'shear_x', 'shear_y', 'translate_x',
      'translate_y',
    ),
    always=False, interpolation='bilinear', fill=(),
  ),
  'trivialaugment': Policy(
    'torchvision/transforms/autoaugment.py: TrivialAugmentWide', 'torchvision_wide', 30.0,
    operations=(
      'identity', 'shear_x', 'shear_y', 'translate_x', 'translate_y', 'rotate', 'brightness',
      'color', 'contrast', 'sharpness', 'posterize', 'solarize', 'autocontrast', 'equalize',
    ),
    bins=31,
  ),
}
