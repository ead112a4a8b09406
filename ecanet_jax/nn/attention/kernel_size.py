"""ECA's kernel size k: from the paper's equations, from the released weights, or given."""

import math
from collections.abc import Callable

from ecanet_jax.nn.attention.slot import Attention, Slot
from ecanet_jax.runtime.errors import UserError


def eca_kernel_size(channels: int, gamma: float = 2.0, b: float = 1.0) -> int:
  """ECA's adaptive kernel size: |log2(C) / gamma + b / gamma|, to the nearest odd number.

  Truncates, then adds 1 if even, as in the paper's Fig. 3: 2048 channels give 6, hence 7.
  Source: Wang et al., ECA-Net, CVPR 2020, Eq. 9.
  """
  return _odd((math.log2(channels) + b) / gamma)


def linear_kernel_size(channels: int, gamma: float, b: float) -> int:
  """k of the linear mapping C = gamma * k - b, to the nearest odd number as above.

  The simplest mapping in the paper, before Eq. 8; gamma is then in the tens or hundreds.
  """
  return _odd((channels + b) / gamma)


def _odd(value: float) -> int:
  t = int(abs(value))
  return t if t % 2 else t + 1


def _released(spec: Attention, slot: Slot) -> int:
  if slot.block.released_k is None:
    raise UserError(
      "attention.k_policy='released': the ECA authors released weights of ResNet-18 (k=3,5,7,7), "
      '34 (3,3,5,7), 50 (3,5,5,7), 101 and 152 (3,3,5,7) and MobileNetV2 (1 below 96 channels, '
      "3 from there) alone; choose another k_policy, such as 'eq9_output'."
    )
  return slot.block.released_k


K_POLICY: dict[str, Callable[[Attention, Slot], int]] = {
  'eq9_output': lambda spec, slot: eca_kernel_size(slot.channels, spec.gamma, spec.b),
  'eq9_planes': lambda spec, slot: eca_kernel_size(slot.block.width, spec.gamma, spec.b),
  'linear': lambda spec, slot: linear_kernel_size(slot.channels, spec.gamma, spec.b),
  'released': _released,
}


def kernel_size(spec: Attention, slot: Slot, stages: int) -> int:
  """k in a slot of a network with `stages` stages.

  Raises:
    UserError: k is even, below 1 or too wide, or the number of given k is wrong.
  """
  if not spec.k:
    k = K_POLICY[spec.k_policy](spec, slot)
  elif len(spec.k) == 1:
    k = spec.k[0]
  elif len(spec.k) == stages:
    k = spec.k[slot.block.stage - 1]
  else:
    raise UserError(
      f'attention.k={spec.k} has {len(spec.k)} kernel sizes; give none (k_policy), one for all, '
      f'or one for each of the {stages} stages.'
    )
  if k < 1 or k % 2 == 0:
    raise UserError(f'attention.k={spec.k}: {k} is not an odd positive number, such as 3 or 5.')
  widest = 2 * slot.channels - 1
  if k > widest:
    raise UserError(
      f'attention: k={k} is wider than the {slot.channels} channels and their neighbours in stage '
      f'{slot.block.stage}; at most {widest}.'
    )
  return k
