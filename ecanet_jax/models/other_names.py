"""What to write here instead of a name of PyTorch or timm."""

import re
from collections.abc import Collection

# Arguments and layers of timm and PyTorch -> the field of our networks.
FIELDS = {
  'drop_rate': 'dropout', 'drop_path_rate': 'drop_path', 'drop_connect_rate': 'drop_path',
  'survival_prob': 'drop_path', 'act_layer': 'activation', 'bn_momentum': 'bn_decay',
  'fc': 'num_classes', 'classifier': 'num_classes', 'head': 'num_classes',
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
  """What to write instead of a network's name that names weights; '' if it does not."""
  if name.startswith(PREFIXES):
    return (
      f'{name!r} names weights, not a network: give it where weights are asked for'
      f'{", without local-dir:" if name.startswith("local-dir:") else ""}.'
    )
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
