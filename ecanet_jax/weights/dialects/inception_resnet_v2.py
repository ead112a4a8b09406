"""Inception-ResNet-v2's names in timm. timm's has no attention; its names here are our own."""

from ecanet_jax.models.inception_resnet_v2 import InceptionResNetBlock
from ecanet_jax.weights.dialects.dialect import Dialect, Family

_ATTENTION = {
  'attention': 'se.conv',
  'attention/reduce': 'se.fc1',
  'attention/expand': 'se.fc2',
}


def _conv_bn(ours: str, theirs: str) -> dict[str, str]:
  return {ours: f'{theirs}.conv', f'{ours}_bn': f'{theirs}.bn'}


def _branches(*lengths: int) -> dict[str, str]:
  """Returns branches of these lengths; a single convolution has no number."""
  names = {}
  for i, length in enumerate(lengths):
    for j in range(length):
      names |= _conv_bn(f'branch{i}_{j}', f'branch{i}' if length == 1 else f'branch{i}.{j}')
  return names


def _prefix(block: InceptionResNetBlock, number: int) -> str:
  if not block.adds:
    return f'{block.name}.'
  if not block.activated:
    return 'block8.'
  return ('repeat', 'repeat_1', 'repeat_2')[block.stage - 1] + f'.{block.index - 1}.'


_UP = {'up': 'conv2d'}

# huggingface/pytorch-image-models, timm/models/inception_resnet_v2.py.
_TIMM = Dialect(
  stem=(
    _conv_bn('stem_1a', 'conv2d_1a')
    | _conv_bn('stem_2a', 'conv2d_2a')
    | _conv_bn('stem_2b', 'conv2d_2b')
    | _conv_bn('stem_3b', 'conv2d_3b')
    | _conv_bn('stem_4a', 'conv2d_4a')
  ),
  block=_prefix,
  variants={
    'mixed_5b': _branches(1, 2, 3) | _conv_bn('pool_proj', 'branch3.1') | _ATTENTION,
    'block35': _branches(1, 2, 3) | _UP | _ATTENTION,
    'mixed_6a': _branches(1, 3) | _ATTENTION,
    'block17': _branches(1, 3) | _UP | _ATTENTION,
    'mixed_7a': _branches(2, 2, 3) | _ATTENTION,
    'block8': _branches(1, 3) | _UP | _ATTENTION,
  },
  head=_conv_bn('head', 'conv2d_7b') | {'classifier': 'classif'},
)

INCEPTION_RESNET_V2 = Family(
  variant=lambda block: block.kind,
  dialects={'timm': _TIMM},
)
