"""EfficientNet's names in PyTorch code, in the original TF1 checkpoints and in Keras.

MobileNetV2 has the same names in timm.
"""

import flax.linen as nn

from ecanet_jax.nn.block import Block
from ecanet_jax.nn.layers import PRESET
from ecanet_jax.weights import layout
from ecanet_jax.weights.dialects.dialect import Dialect, Family


def _tensorflow_misfit(model: nn.Module) -> str:
  if model.preset == 'tf':
    return ''
  return (
    "its networks have TensorFlow's padding and BatchNorm (preset tf), this one has preset="
    f'{model.preset}; choose tf_efficientnet_..., or preset=tf.'
  )


def _torchvision_misfit(model: nn.Module) -> str:
  eps = 1e-5 if model.width < 1.6 else 1e-3  # B5 to B7 are a port of TensorFlow's weights
  if model.preset != 'torch':
    return (
      f'its networks have symmetric padding (preset torch), this one has preset={model.preset}; '
      'choose efficientnet_..., without tf_.'
    )
  if (model.bn_eps or PRESET[model.preset].bn_eps) != eps:
    return f'its BatchNorm has eps {eps:g} at this width; choose bn_eps={eps:g}' + (
      ' and bn_decay=0.99, as tv_efficientnet_b5, _b6 and _b7 have.' if eps == 1e-3 else '.'
    )
  return ''


# huggingface/pytorch-image-models, timm/models/efficientnet.py and _efficientnet_blocks.py. A block
# without expansion is a DepthwiseSeparableConv, whose first BatchNorm follows the depthwise layer.
_TIMM = Dialect(
  stem={'stem': 'conv_stem', 'stem_bn': 'bn1'},
  block='blocks.{stage}.{index}.',
  variants={
    'plain': {
      'depthwise': 'conv_dw',
      'depthwise_bn': 'bn1',
      'attention': 'se.conv',
      'attention/reduce': 'se.conv_reduce',
      'attention/expand': 'se.conv_expand',
      'project': 'conv_pw',
      'project_bn': 'bn2',
    },
    'expanded': {
      'expand': 'conv_pw',
      'expand_bn': 'bn1',
      'depthwise': 'conv_dw',
      'depthwise_bn': 'bn2',
      'attention': 'se.conv',
      'attention/reduce': 'se.conv_reduce',
      'attention/expand': 'se.conv_expand',
      'project': 'conv_pwl',
      'project_bn': 'bn3',
    },
  },
  head={'head': 'conv_head', 'head_bn': 'bn2', 'classifier': 'classifier'},
)

# lukemelas/EfficientNet-PyTorch, model.py, and its lite forks. It has no ECA.
_LUKEMELAS_BLOCK = {
  'expand': '_expand_conv',
  'expand_bn': '_bn0',
  'depthwise': '_depthwise_conv',
  'depthwise_bn': '_bn1',
  'attention/reduce': '_se_reduce',
  'attention/expand': '_se_expand',
  'project': '_project_conv',
  'project_bn': '_bn2',
}
_LUKEMELAS = Dialect(
  stem={'stem': '_conv_stem', 'stem_bn': '_bn0'},
  block='_blocks.{number}.',
  variants={'plain': _LUKEMELAS_BLOCK, 'expanded': _LUKEMELAS_BLOCK},
  head={'head': '_conv_head', 'head_bn': '_bn1', 'classifier': '_fc'},
  misfit=_tensorflow_misfit,
)


def _torchvision(expanded: bool) -> dict[str, str]:
  """Returns the modules of a block: a numbered list of SE, and convolutions with BatchNorm."""
  names = {}
  if expanded:
    names |= {'expand': 'block.0.0', 'expand_bn': 'block.0.1'}
  depthwise = int(expanded)
  return {
    **names,
    'depthwise': f'block.{depthwise}.0',
    'depthwise_bn': f'block.{depthwise}.1',
    'attention/reduce': f'block.{depthwise + 1}.fc1',
    'attention/expand': f'block.{depthwise + 1}.fc2',
    'project': f'block.{depthwise + 2}.0',
    'project_bn': f'block.{depthwise + 2}.1',
  }


# pytorch/vision, torchvision/models/efficientnet.py. Every block has SE, and there is no other
# attention. For a network without SE we keep the same numbers, though torchvision has no such
# network. B5 to B7 are ported from TensorFlow: BatchNorm has eps 1e-3 and momentum 0.01, with the
# same symmetric padding. They are our tv_efficientnet_b5 to _b7.
_TORCHVISION = Dialect(
  stem={'stem': 'features.0.0', 'stem_bn': 'features.0.1'},
  block='features.{stage1}.{index}.',
  variants={'plain': _torchvision(False), 'expanded': _torchvision(True)},
  head={
    'head': 'features.{after_stage}.0',
    'head_bn': 'features.{after_stage}.1',
    'classifier': 'classifier.1',
  },
  misfit=_torchvision_misfit,
)

# tensorflow/tpu, models/official/efficientnet. A block numbers its layers of each class in the
# order in which it creates them. `tensorflow.read_tf1` removes the scope ('efficientnet-b0/') and
# the suffix '/ExponentialMovingAverage'.
_TF1_BN = 'tpu_batch_normalization'
_TF1_SE = {
  'attention/reduce': 'se/conv2d',
  'attention/expand': 'se/conv2d_1',
}
_TF1 = Dialect(
  stem={'stem': 'stem/conv2d', 'stem_bn': f'stem/{_TF1_BN}'},
  block='blocks_{number}/',
  variants={
    'plain': {
      'depthwise': 'depthwise_conv2d',
      'depthwise_bn': _TF1_BN,
      **_TF1_SE,
      'project': 'conv2d',
      'project_bn': f'{_TF1_BN}_1',
    },
    'expanded': {
      'expand': 'conv2d',
      'expand_bn': _TF1_BN,
      'depthwise': 'depthwise_conv2d',
      'depthwise_bn': f'{_TF1_BN}_1',
      **_TF1_SE,
      'project': 'conv2d_1',
      'project_bn': f'{_TF1_BN}_2',
    },
  },
  head={'head': 'head/conv2d', 'head_bn': f'head/{_TF1_BN}', 'classifier': 'head/dense'},
  layouts=layout.TENSORFLOW,
  separator='/',
  import_only=True,
  misfit=_tensorflow_misfit,
)


def _keras_prefix(block: Block, number: int) -> str:
  return f'block{block.stage}{chr(ord("a") + block.index)}_'


# keras-team/keras, applications/efficientnet.py. Stages are numbered from 1, their blocks lettered.
# `tensorflow.read_keras` drops the `Normalization` of the images.
_KERAS_BLOCK = {
  'expand': 'expand_conv',
  'expand_bn': 'expand_bn',
  'depthwise': 'dwconv',
  'depthwise_bn': 'bn',
  'attention/reduce': 'se_reduce',
  'attention/expand': 'se_expand',
  'project': 'project_conv',
  'project_bn': 'project_bn',
}
_KERAS = Dialect(
  stem={'stem': 'stem_conv', 'stem_bn': 'stem_bn'},
  block=_keras_prefix,
  variants={'plain': _KERAS_BLOCK, 'expanded': _KERAS_BLOCK},
  head={'head': 'top_conv', 'head_bn': 'top_bn', 'classifier': 'predictions'},
  layouts=layout.TENSORFLOW,
  separator='/',
  import_only=True,
  misfit=_tensorflow_misfit,
)

EFFICIENTNET = Family(
  variant=lambda block: 'expanded' if block.expands else 'plain',
  dialects={
    'timm': _TIMM,
    'lukemelas': _LUKEMELAS,
    'torchvision': _TORCHVISION,
    'tf1': _TF1,
    'keras': _KERAS,
  },
)
