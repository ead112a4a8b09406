"""VGG's names in timm; timm has no attention in VGG, its names here are ours."""

from ecanet_jax.weights.names.dialect import Dialect, Family


def _variant(first_layer: int, convs: int, batch_norm: bool) -> str:
  return f'{convs} convolutions from layer {first_layer}{" with BatchNorm" * batch_norm}'


def _stage(first_layer: int, convs: int, batch_norm: bool) -> dict[str, str]:
  """Convolution, BatchNorm and activation are layers of one list, numbered through all stages."""
  each = 3 if batch_norm else 2
  names = {}
  for i in range(convs):
    names[f'conv_{i + 1}'] = str(first_layer + i * each)
    if batch_norm:
      names[f'conv_{i + 1}_bn'] = str(first_layer + i * each + 1)
  after = first_layer + convs * each - 1  # the last activation
  return names | {
    'attention': f'{after}.se.conv',
    'attention/reduce': f'{after}.se.fc1',
    'attention/expand': f'{after}.se.fc2',
  }


# huggingface/pytorch-image-models, timm/models/vgg.py. A stage's names depend on where it begins:
# these are all stages of up to 8 convolutions in networks of up to 64 layers.
_TIMM = Dialect(
  stem={},
  block='features.',
  variants={
    _variant(*stage): _stage(*stage)
    for stage in (
      (first_layer, convs, batch_norm)
      for first_layer in range(64) for convs in range(1, 9) for batch_norm in (False, True)
    )
  },
  head={'fc1': 'pre_logits.fc1', 'fc2': 'pre_logits.fc2', 'classifier': 'head.fc'},
)

VGG_16 = Family(
  variant=lambda block: _variant(block.first_layer, block.convs, block.batch_norm),
  dialects={'timm': _TIMM},
)
