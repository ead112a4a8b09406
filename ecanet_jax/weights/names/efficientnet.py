"""EfficientNet's and MobileNetV2's names in timm and in lukemelas/EfficientNet-PyTorch."""

from ecanet_jax.weights.names.dialect import Dialect, Family

# huggingface/pytorch-image-models, timm/models/efficientnet.py and _efficientnet_blocks.py: a block
# without expansion is a DepthwiseSeparableConv and counts its BatchNorms from the depthwise one.
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

# lukemelas/EfficientNet-PyTorch, model.py; also the lite forks. It has no ECA.
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
)

EFFICIENTNET = Family(
  variant=lambda block: 'expanded' if block.expands else 'plain',
  dialects={'timm': _TIMM, 'lukemelas': _LUKEMELAS},
)
