"""VGG's names in timm and torchvision. Neither has attention; its names for timm are our own."""

from ecanet_jax.weights.dialects.dialect import KINDS, Dialect, Family


def _variant(first_layer: int, convs: int, batch_norm: bool) -> str:
  return f'{convs} convolutions from layer {first_layer}{" with BatchNorm" * batch_norm}'


def _stage(first_layer: int, convs: int, batch_norm: bool, attention: bool) -> dict[str, str]:
  """Returns the names of a stage: a layer's number in the one list of all layers.

  Convolutions, BatchNorms and activations are counted.
  """
  each = 3 if batch_norm else 2
  names = {}
  for i in range(convs):
    names[f'conv_{i + 1}'] = str(first_layer + i * each)
    if batch_norm:
      names[f'conv_{i + 1}_bn'] = str(first_layer + i * each + 1)
  if not attention:
    return names
  after = first_layer + convs * each - 1  # the last activation
  return names | {
    'attention': f'{after}.se.conv',
    'attention/reduce': f'{after}.se.fc1',
    'attention/expand': f'{after}.se.fc2',
  }


def _stages(attention: bool) -> dict[str, dict[str, str]]:
  """Returns all stages of up to 8 convolutions in networks of up to 64 layers.

  The names of a stage depend on the number of its first layer.
  """
  return {
    _variant(*stage): _stage(*stage, attention)
    for stage in (
      (first_layer, convs, batch_norm)
      for first_layer in range(64) for convs in range(1, 9) for batch_norm in (False, True)
    )
  }


# huggingface/pytorch-image-models, timm/models/vgg.py.
_TIMM = Dialect(
  stem={},
  block='features.',
  variants=_stages(attention=True),
  head={'fc1': 'pre_logits.fc1', 'fc2': 'pre_logits.fc2', 'classifier': 'head.fc'},
)

# pytorch/vision, torchvision/models/vgg.py. The last three layers are linear, the first of them on
# the flattened map; there is no form without hidden layers. For images above 224 px the logits
# differ: torchvision averages the map to 7 x 7 before these layers, our network and timm's average
# after them.
_TORCHVISION = Dialect(
  stem={},
  block='features.',
  variants=_stages(attention=False),
  head={'fc1': 'classifier.0', 'fc2': 'classifier.3', 'classifier': 'classifier.6'},
  kinds={**KINDS, 'fc1': 'flattened', 'fc2': 'dense'},
)

VGG_16 = Family(
  variant=lambda block: _variant(block.first_layer, block.convs, block.batch_norm),
  dialects={'timm': _TIMM, 'torchvision': _TORCHVISION},
)
