"""What to write here instead of a name of PyTorch or timm."""

import re
from collections.abc import Collection

# Arguments and layers of timm and PyTorch -> the field of our networks.
FIELDS = {
  'drop_rate': 'dropout', 'drop_path_rate': 'drop_path', 'drop_connect_rate': 'drop_path',
  'survival_prob': 'drop_path', 'act_layer': 'activation', 'bn_momentum': 'bn_decay',
  'fc': 'num_classes', 'classifier': 'num_classes', 'head': 'num_classes',
}
# Names in Keras, torchvision, timm, the hub and papers -> the network here that computes the same.
# Compared in small letters, without '-', '_' and the owner before '/'.
NETWORKS = {
  'mobilenetv2': 'mobilenetv2_100', 'efficientnet': 'efficientnet_b0', 'ecab0':
    'eca_efficientnet_b0', 'ecaefficientnet': 'eca_efficientnet_b0', 'ecanet': 'eca_resnet50',
  'ecanet18': 'eca_resnet18', 'ecanet34': 'eca_resnet34', 'ecanet50': 'eca_resnet50', 'ecanet101':
    'eca_resnet101', 'ecanet152': 'eca_resnet152', 'senet': 'senet154', 'senet50': 'seresnet50',
  'resnext50': 'resnext50_32x4d', 'resnext101': 'resnext101_32x4d', 'seresnext50':
    'seresnext50_32x4d', 'seresnext101': 'seresnext101_32x4d', 'vgg': 'vgg16',
}
PREFIXES = ('hf-hub:', 'hf_hub:', 'local-dir:')  # of timm, for weights
_TAGGED = re.compile(r'(?:timm/)?(\w+)\.(\w+)')  # ARCHITECTURE.TAG


def field_hint(key: str) -> str:
  """' Here it is FIELD.' for a field that has another name in PyTorch or timm, else ''."""
  if key not in FIELDS:
    return ''
  what = 'The size of the last layer is' if FIELDS[key] == 'num_classes' else 'Here it is'
  return f' {what} {FIELDS[key]!r}.'


def network_hint(name: str, networks: Collection[str]) -> str:
  """What to write instead of another project's name of a network or of weights; '' if unknown."""
  if name.startswith(PREFIXES):
    return (
      f'{name!r} names weights, not a network: give it where weights are asked for'
      f'{", without local-dir:" if name.startswith("local-dir:") else ""}.'
    )
  plain = re.sub('[-_]', '', name.rpartition('/')[2].lower())
  same = next((each for each in networks if each.replace('_', '') == plain), NETWORKS.get(plain))
  if same in networks:
    return f'unknown model {name!r}. Did you mean {same!r}?'
  tagged = _TAGGED.fullmatch(name)
  if not tagged or tagged[1] not in networks:
    return ''
  return (
    f'{name!r} names weights of timm; the network is {tagged[1]!r}. The weights are '
    f"'hf-hub:timm/{tagged[1]}.{tagged[2]}'."
  )


def weights_hint(path: str) -> str:
  """What to write instead of a path that is timm's name for weights, from a blank on; or ''."""
  if path.startswith('local-dir:'):
    return f' local-dir: is a word of timm: give {path.removeprefix("local-dir:")} alone.'
  if tagged := _TAGGED.fullmatch(path):
    return f" On the hub they are 'hf-hub:timm/{tagged[1]}.{tagged[2]}'."
  return ''
