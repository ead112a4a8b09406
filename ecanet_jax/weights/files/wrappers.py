"""Where a PyTorch checkpoint keeps its weights, beside the optimizer, the epoch and other things.

Within the state dict, `prefixes` finds the network.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.log import log

# Key of averaged weights -> who writes it.
AVERAGED = {
  'state_dict_ema': 'timm train.py',
  'model_ema': 'torchvision references/classification/train.py',
  'ema_state_dict': 'OpenMMLab mmengine (EMAHook)',
  'ema': 'ultralytics and many training loops',
  'teacher': 'facebookresearch/dino main_dino.py: a moving average of the student',
}
# Key of the weights as trained -> who writes it. The first match wins.
TRAINED = {
  'state_dict': 'timm, Lightning, mmengine, MoCo, the ECA authors',
  'model': 'torchvision references, fastai Learner.save, detectron2',
  'model_state_dict': "PyTorch's tutorial on saving and loading models",
  'student': 'facebookresearch/dino main_dino.py',
  'net': 'kuangliu/pytorch-cifar main.py',
  'module': 'DeepSpeed mp_rank_00_model_states.pt',
  'classy_state_dict': 'facebookresearch/ClassyVision, with base_model, model and trunk inside',
  'base_model': 'within classy_state_dict',
  'trunk': 'within base_model',
}
# Which weights a user can ask for -> the keys that may hold them.
WRAPPERS = {'ema': (*AVERAGED, *TRAINED), 'raw': tuple(TRAINED)}
OPTIMIZER = {'state', 'param_groups'}  # keys of the state dict of an optimizer
DEPTH = 6  # most mappings inside each other


def unwrap(
  path: str, content: Any, kind: str, is_array: Callable[[Any], bool]
) -> Mapping[Any, Any]:
  """Returns the state dict inside of a checkpoint; the log says where it was.

  Args:
    path: of the file, for messages.
    content: what the file holds.
    kind: a key of WRAPPERS.
    is_array: whether a value is a tensor or an array.

  Raises:
    UserError: there is none, or there are several and no known key says which one to take.
  """
  for _ in range(DEPTH):
    if isinstance(content, list | tuple) and any(isinstance(item, Mapping) for item in content):
      content = {f'item {number}': value for number, value in enumerate(content)}
    if not isinstance(content, Mapping):
      break
    content = _as_trained_and_averaged(content)
    inside = {
      key: value for key, value in content.items()
      if isinstance(value, Mapping) and not set(value) >= OPTIMIZER
      and _holds_arrays(value, is_array)
    }
    known = [key for key in WRAPPERS[kind] if key in inside]
    nets = known or [key for key, value in inside.items() if any(map(is_array, value.values()))]
    nets = nets or list(inside)
    if not nets or (not known and any(map(is_array, content.values()))):
      break
    if len(nets) > 1 and not known:
      raise UserError(
        f'{path} holds several state dicts: {", ".join(sorted(map(repr, nets)))}; save the one of '
        'the network alone, with torch.save.'
      )
    if len(content) > 1:
      log.warning('%s: read %r, one of %s.', path, nets[0], sorted(map(str, content)))
    content = inside[nets[0]]
  if not isinstance(content, Mapping) or not content:
    what = f'an object of type {type(content).__name__}' if content != {} else 'an empty mapping'
    raise UserError(f'{path} holds {what}, not a state dict.')
  return content


def _as_trained_and_averaged(content: Mapping[Any, Any]) -> Mapping[Any, Any]:
  """Undoes the exchange of mmengine's EMAHook, which saves the averages as `state_dict`."""
  if not {'message_hub', 'state_dict', 'ema_state_dict'} <= set(content):
    return content
  exchanged = {'state_dict': 'ema_state_dict', 'ema_state_dict': 'state_dict'}
  return {key: content[exchanged.get(key, key)] for key in content}


def _holds_arrays(value: Any, is_array: Callable[[Any], bool], depth: int = DEPTH) -> bool:
  return is_array(value) or (
    depth > 0 and isinstance(value, Mapping)
    and any(_holds_arrays(item, is_array, depth - 1) for item in value.values())
  )
