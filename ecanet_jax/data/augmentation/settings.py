"""Checks of the keys `augment`, `mix` and `data.crop`, and what follows from them."""

from ecanet_jax.data.augmentation.device.erasing import MODES
from ecanet_jax.data.augmentation.host.policies import POLICIES
from ecanet_jax.runtime.errors import UserError, lookup

INTERPOLATIONS = ('nearest', 'bilinear', 'bicubic')
# Keys that need image files (not data.source='memory' or data.resident), with the value for 'off'.
ON_HOST = {
  'policy': 'none', 'color_jitter': (0.0, 0.0, 0.0, 0.0), 'lighting': 0.0, 'rotation': 0.0
}


def check(config) -> None:
  """Checks `config.augment`, `config.mix` and `config.data.crop`.

  Raises:
    UserError: an unknown name, a number out of its range, an augmentation that needs image files
      for a set that has none, or mixing with one class.
  """
  augment, mix = config.augment, config.mix
  policy = lookup({'none': None, **POLICIES}, augment.policy, 'policy (augment.policy)')
  _in('augment.layers', augment.layers, 1, 16)
  _in('augment.magnitude_std', augment.magnitude_std, 0, float('inf'))
  _in('augment.probability', augment.probability, 0, 1)
  if policy and policy.operations and not policy.bins:
    _in(f'with augment.policy={augment.policy!r}, augment.magnitude', augment.magnitude, 0,
        policy.top)
  if augment.magnitude_std and augment.policy != 'randaugment':
    raise UserError(
      f'augment.magnitude_std={augment.magnitude_std:g} belongs to augment.policy='
      f"'randaugment' alone, and the policy is {augment.policy!r}."
    )
  if augment.interpolation is not None:
    lookup(dict.fromkeys(INTERPOLATIONS), augment.interpolation, 'augment.interpolation')
  if augment.fill is not None:
    _many('augment.fill', augment.fill, 3, 0, 255)
  _many('augment.color_jitter', augment.color_jitter, 4, 0, float('inf'))
  _in('the hue of augment.color_jitter, its last number,', augment.color_jitter[3], 0, 0.5)
  _in('augment.lighting', augment.lighting, 0, float('inf'))
  _in('augment.rotation', augment.rotation, 0, 180)
  _in('augment.erasing', augment.erasing, 0, 1)
  lookup(MODES, augment.erasing_mode, 'augment.erasing_mode')
  _interval('augment.erasing_area', augment.erasing_area, 1)
  _interval('augment.erasing_aspect', augment.erasing_aspect, float('inf'))
  for key in ('mixup_alpha', 'cutmix_alpha'):
    _in(f'mix.{key}', mix[key], 0, float('inf'))
  for key in ('prob', 'switch_prob'):
    _in(f'mix.{key}', mix[key], 0, 1)
  for key in ('mixup_alpha', 'cutmix_alpha'):
    if mix[key] and config.model.num_classes == 1:
      raise UserError(f'mix.{key}={mix[key]:g} mixes images of different classes; there is only 1.')
  held = config.data.source == 'memory' or config.data.resident
  if config.data.crop == 'shift' and not held:
    raise UserError(
      "data.crop='shift' is for images that are not decoded in every epoch (data.source='memory', "
      f'data.resident=True); data.source={config.data.source!r} has inception and center.'
    )
  if held:
    for key, off in ON_HOST.items():
      if _plain(augment[key]) != off:
        where = 'data.resident=True' if config.data.resident else "data.source='memory'"
        raise UserError(
          f'augment.{key}={_plain(augment[key])!r} needs images that are decoded in every epoch; '
          f'{where} has erasing and mixing only. Set augment.{key}={off!r}.'
        )


def used_on_host(augment) -> bool:
  """Returns whether `host.chain` has anything to do."""
  return any(_plain(augment[key]) != off for key, off in ON_HOST.items())


def layers(augment) -> int:
  """Returns how many operations the policy applies to an image in turn; 0 without a policy."""
  policy = POLICIES.get(augment.policy)
  if policy is None:
    return 0
  if policy.sub_policies:
    return len(policy.sub_policies[0])
  return 1 if policy.bins else augment.layers


def _plain(value):
  return tuple(map(float, value)) if isinstance(value, tuple | list) else value


def _in(name: str, value: float, low: float, high: float) -> None:
  if not low <= value <= high:
    rule = f'at least {low:g}' if high == float('inf') else f'from {low:g} to {high:g}'
    raise UserError(f'{name}={value:g} must be {rule}.')


def _many(name: str, values, count: int, low: float, high: float) -> None:
  if len(values) != count:
    raise UserError(f'{name}={tuple(values)} must have {count} numbers.')
  for value in values:
    _in(f'every number of {name}={tuple(values)}, such as {name}', value, low, high)


def _interval(name: str, values, high: float) -> None:
  if len(values) != 2 or not 0 < values[0] <= values[1] <= high:
    most = '' if high == float('inf') else f', at most {high:g}'
    raise UserError(f'{name}={tuple(values)} must be (smallest, largest), above 0{most}.')
