"""Attention as a slot of every network: a kind, in some blocks, at a position.

Kinds are the classes in ATTENTION; WHERE selects blocks; each family lists the positions that its
blocks have.
"""

import dataclasses
from collections.abc import Callable, Iterable

from ecanet_jax.nn.attention.channel import (
  ECA,
  ECANS,
  GATE,
  SE,
  SEGC,
  SQUEEZE,
  AttentionModule,
  CircularECA,
  SEVar1,
  SEVar2,
  SEVar3,
)
from ecanet_jax.nn.attention.comparators import CBAM, AugmentedConv, DoubleAttention, GSoP
from ecanet_jax.nn.attention.kernel_size import K_POLICY, eca_kernel_size, kernel_size
from ecanet_jax.nn.attention.slot import WHERE, Attention, Slot, position_of
from ecanet_jax.nn.block import Block
from ecanet_jax.ops.activation import ACTIVATIONS
from ecanet_jax.runtime.errors import UserError, lookup

__all__ = [
  'ATTENTION', 'WHERE', 'Attention', 'AttentionModule', 'Slot', 'check', 'eca_kernel_size',
  'kernel_size', 'place',
]

ATTENTION: dict[str, type[AttentionModule] | None] = {
  'none': None,
  'se': SE,
  'se_var1': SEVar1,
  'se_var2': SEVar2,
  'se_var3': SEVar3,
  'se_gc1': SEGC,
  'se_gc2': SEGC,
  'se_gc3': SEGC,
  'eca_ns': ECANS,
  'eca': ECA,
  'eca_circular': CircularECA,
  'cbam': CBAM,
  'a2': DoubleAttention,
  'gsop': GSoP,
  'aa': AugmentedConv,
}


def place(spec: Attention, block: Block, standard: str, stages: int) -> Slot:
  """The attention slot of a block, with ECA's kernel size.

  Args:
    spec: the network's attention.
    block: the block's facts.
    standard: the family's published position.
    stages: number of stages of the network.

  Raises:
    UserError: the kernel size is impossible there.
  """
  kind = ATTENTION[spec.kind]
  if kind is None:
    return Slot(block)
  slot = Slot(block, position_of(spec, block, kind.standard or standard))
  if slot.position and kind.has_kernel_size:
    slot = dataclasses.replace(slot, k=kernel_size(spec, slot, stages))
  return slot


def check(
  spec: Attention, slots: Callable[[], Iterable[Slot]], positions: tuple[str, ...], stages: int,
  family: str,
) -> None:
  """Raises UserError if a network cannot have this attention; the text says what it can have.

  Args:
    spec: the attention.
    slots: returns the slots of all blocks.
    positions: the positions in the family's blocks.
    stages: number of stages.
    family: its name, for the message.
  """
  kind = lookup(ATTENTION, spec.kind, 'attention.kind')
  lookup(WHERE, spec.where, 'attention.where')
  lookup(K_POLICY, spec.k_policy, 'attention.k_policy')
  lookup(SQUEEZE, spec.squeeze, 'attention.squeeze')
  lookup(GATE, spec.gate, 'attention.gate')
  lookup({'channels': 0, 'block': 0}, spec.reduction_of, 'attention.reduction_of')
  if spec.activation:
    lookup(ACTIVATIONS, spec.activation, 'attention.activation')
  wrong = [s for s in spec.stages if not 1 <= s <= stages]
  if wrong or (spec.where == 'stages' and not spec.stages):
    raise UserError(
      f'attention.stages={spec.stages}: name one or more of the stages 1 to {stages}.'
    )
  for field in ('reduction', 'gamma'):
    if getattr(spec, field) <= 0:
      raise UserError(f'attention.{field}={getattr(spec, field)} must be above 0.')
  for field, least in (('divisor', 1), ('groups', 0)):
    if getattr(spec, field) < least:
      raise UserError(f'attention.{field}={getattr(spec, field)} must be at least {least}.')
  for field in ('position', 'elsewhere'):
    position = getattr(spec, field)
    if position not in ('standard', *positions) and (field == 'position' or position):
      known = dict.fromkeys(('standard', *positions))
      lookup(known, position, f'attention.{field} of {family}')
  if kind is None:
    return
  used = [slot for slot in slots() if slot.position]
  if not used:
    raise UserError(
      f'attention.where={spec.where!r} with stages={spec.stages} selects no block of {family}; '
      f"where='all' selects all of them."
    )
  for slot in used:
    replaces = kind.standard == 'conv'
    possible = [p for p in positions if (p == 'conv') == replaces]
    if slot.position not in possible:
      raise UserError(
        f'attention {spec.kind!r} cannot be at {slot.position!r} in {family}; '
        + (f'it can be at {", ".join(possible)}.' if possible else
           'it replaces a dense k x k convolution, and these blocks have none.')
      )
    kind.check(spec, slot)
