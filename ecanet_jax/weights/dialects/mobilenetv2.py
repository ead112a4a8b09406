"""MobileNetV2's names in timm, torchvision and the ECA authors' code."""

from ecanet_jax.weights.dialects.dialect import Dialect, Family
from ecanet_jax.weights.dialects.efficientnet import EFFICIENTNET


def _features(attention: bool) -> Dialect:
  """Returns the names of a network that is one numbered list of stem, blocks and head.

  Args:
    attention: ECA is the last module of a block.
  """
  last = lambda number: {'attention': f'conv.{number}.conv'} if attention else {}
  return Dialect(
    stem={'stem': 'features.0.0', 'stem_bn': 'features.0.1'},
    block='features.{number1}.',
    variants={
      'plain': {
        'depthwise': 'conv.0.0',
        'depthwise_bn': 'conv.0.1',
        'project': 'conv.1',
        'project_bn': 'conv.2',
        **last(3),
      },
      'expanded': {
        'expand': 'conv.0.0',
        'expand_bn': 'conv.0.1',
        'depthwise': 'conv.1.0',
        'depthwise_bn': 'conv.1.1',
        'project': 'conv.2',
        'project_bn': 'conv.3',
        **last(4),
      },
    },
    head={
      'head': 'features.{after}.0', 'head_bn': 'features.{after}.1', 'classifier': 'classifier.1',
    },
  )


MOBILENETV2 = Family(
  variant=EFFICIENTNET.variant,
  dialects={
    'timm': EFFICIENTNET.dialects['timm'],
    # pytorch/vision, torchvision/models/mobilenetv2.py; it has no attention.
    'torchvision': _features(attention=False),
    # BangguWu/ECANet, models/eca_mobilenetv2.py.
    'ecanet': _features(attention=True),
  },
)
