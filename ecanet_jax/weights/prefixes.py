"""The prefixes that other modules put before the keys of a network in a state dict."""

import collections
from collections.abc import Collection, Mapping

import numpy as np

from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.log import log

# Prefixes that wrap a whole network -> who adds them. They are removed from every state dict.
WRAPPERS = {
  'module.': 'torch.nn.DataParallel, DistributedDataParallel, AveragedModel; timm ModelEmaV2',
  '_orig_mod.': 'torch.compile',
}
# Parts that wrap a module inside of a network -> who adds them. They are removed from every key.
INNER = {
  '_orig_mod': 'torch.compile of a part',
  '_checkpoint_wrapped_module': 'activation checkpointing (torch.distributed, fairscale)',
  '_fsdp_wrapped_module': 'torch.distributed FullyShardedDataParallel',
}
# Parts of the prefixes of averaged weights: taken if the averages are asked for.
AVERAGED = {
  'teacher': 'DINO, mean teacher',
  'ema': 'lucidrains/ema-pytorch, k-diffusion',
  'ema_model': 'lucidrains/ema-pytorch',
  'model_ema': 'latent-diffusion LitEma',
  'swa_model': "PyTorch's example of stochastic weight averaging",
}
# Parts of other prefixes. They decide where several parts of a state dict fit; a prefix that is
# alone needs no entry.
PARTS = {
  'model': 'Lightning modules',
  'backbone': 'OpenMMLab, DINO, Lightning Flash',
  'timm_model': 'transformers TimmWrapperForImageClassification',
  'encoder': 'segmentation and self-supervised networks',
  'encoder_q': 'MoCo; encoder_k is its momentum encoder',
  'online_encoder': 'BYOL; target_encoder is its average',
  'student': 'DINO, distillation',
  'net': 'kuangliu/pytorch-cifar, skorch',
  'network': 'Lightning modules',
  'base_model': 'ClassyVision, wrappers of fastai',
  'trunk': 'ClassyVision, open_clip',
  'feature_extractor': 'detection and metric learning',
}
# Prefixes of the classifier alone -> who adds them.
CLASSIFIER = {'head.': 'OpenMMLab: backbone.conv1, head.fc'}


def take_off(
  state_dict: Mapping[str, np.ndarray], expected: Collection[str], classifier: Collection[str],
  kind: str = 'ema', separator: str = '.',
) -> dict[str, np.ndarray]:
  """Returns a network's arrays under its own keys. The log says what was taken off.

  A prefix is taken off where that makes more keys fit. Arrays without it belong to other modules
  and are left out, which the log says.

  Args:
    state_dict: arrays by key.
    expected: the network's keys without its classifier's.
    classifier: its classifier's keys.
    kind: 'ema' = the averaged weights, if there are both; 'raw' = those as trained.
    separator: of the parts of a key.

  Raises:
    UserError: several prefixes fit, and none is known.
  """
  state = _without_wrappers(state_dict)
  if separator != '.' or not state:
    return state
  prefix = _choose(state, set(expected), kind)
  if not prefix:
    return state
  used = {key.removeprefix(prefix): key for key in state if key.startswith(prefix)}
  if not any(key in used for key in classifier):
    used |= _classifier(state, prefix, classifier)
  others = [key for key in state if key not in used.values()]
  listed = ', '.join(others[:3]) + (f', and {len(others) - 3} more' if len(others) > 3 else '')
  log.warning(
    'Removed the prefix %r from %d of %d keys of the state dict%s.', prefix, len(used), len(state),
    f'; not of the network: {listed}' if others else '',
  )
  return {key: state[theirs] for key, theirs in used.items()}


def shared_prefix(keys: Collection[str]) -> str:
  """Returns the parts that all keys begin with, such as 'model.backbone.'; '' for none."""
  parts = []
  for column in zip(*(key.split('.')[:-1] for key in keys)):
    if len(set(column)) > 1:
      break
    parts.append(column[0])
  return '.'.join([*parts, '']) if parts else ''


def _without_wrappers(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  state = dict(state_dict)
  while state:
    prefix = next((p for p in WRAPPERS if all(key.startswith(p) for key in state)), None)
    if prefix is None:
      break
    log.warning('Removed the prefix %r from all %d keys of the state dict.', prefix, len(state))
    state = {key.removeprefix(prefix): array for key, array in state.items()}
  for part in INNER:
    count = sum(part in key.split('.') for key in state)
    if count:
      log.warning('Removed %r from %d of %d keys of the state dict.', part, count, len(state))
    state = {
      '.'.join(name for name in key.split('.') if name != part): array
      for key, array in state.items()
    }
  return state


def _choose(state: Mapping[str, np.ndarray], expected: set[str], kind: str) -> str:
  """Returns the prefix that makes the most keys fit, '' for none."""
  fits = collections.Counter()
  for key in state:
    parts = key.split('.')
    for start in range(len(parts)):
      if '.'.join(parts[start:]) in expected:
        fits['.'.join([*parts[:start], ''])] += 1
  most = max(fits.values(), default=0)
  best = [prefix for prefix in fits if fits[prefix] == most]
  if '' in best or 2 * most < len(expected):
    return ''
  averaged = lambda prefix: any(part in AVERAGED for part in prefix.split('.'))
  known = lambda prefix: any(part in PARTS for part in prefix.split('.'))
  for group in (
    best, [p for p in best if averaged(p) == (kind == 'ema')],
    [p for p in best if known(p) and averaged(p) == (kind == 'ema')], [p for p in best if known(p)],
  ):
    if len(group) == 1:
      return group[0]
  first = best[0]
  raise UserError(
    f'the state dict holds {len(best)} networks that fit, under {", ".join(map(repr, best[:3]))}; '
    f'save one of them in PyTorch: torch.save({{k.removeprefix({first!r}): v for k, v in '
    f'state_dict.items() if k.startswith({first!r})}}, FILE).'
  )


def _classifier(
  state: Collection[str], prefix: str, classifier: Collection[str]
) -> dict[str, str]:
  """Returns the classifier's keys, and their names where they have a prefix of their own."""
  outer = prefix[: prefix[:-1].rfind('.') + 1]  # of the module that holds the network
  for own in ('', *CLASSIFIER):
    found = {key: f'{outer}{own}{key}' for key in classifier if f'{outer}{own}{key}' in state}
    if found:
      return found
  return {}
