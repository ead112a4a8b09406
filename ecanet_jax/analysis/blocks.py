"""Names of blocks in the papers, and ours.

ECA-Net and SENet number a ResNet's residual blocks from stage 2, because He et al. (2016) call the
stem stage 1: conv_4_6, SE_4_6 and GAP_4_6 are our blocks_2_5.
"""

import re
from collections.abc import Collection, Sequence

from ecanet_jax.runtime.errors import UserError, closest

_PAPER = re.compile(r'(?:conv|SE|GAP)_(\d+)_(\d+)')
_OURS = re.compile(r'blocks_(\d+)_(\d+)')


def our_name(name: str) -> str:
  """'blocks_2_5' for 'conv_4_6', 'SE_4_6' or 'GAP_4_6'; every other name unchanged."""
  found = _PAPER.fullmatch(name)
  return f'blocks_{int(found[1]) - 2}_{int(found[2]) - 1}' if found else name


def paper_name(name: str) -> str:
  """'conv_4_6' for 'blocks_2_5'; every other name unchanged."""
  found = _OURS.fullmatch(name)
  return f'conv_{int(found[1]) + 2}_{int(found[2]) + 1}' if found else name


def choose(asked: Sequence[str], known: Collection[str]) -> list[str]:
  """The blocks that were asked for, by our names; all known ones if none was.

  Raises:
    UserError: a block that the network does not have, or has no attention.
  """
  names = [our_name(name) for name in asked]
  for given, name in zip(asked, names):
    if name not in known:
      shown = name if given == name else f'{given} ({name})'
      raise UserError(
        f'no attention in a block {shown}.{closest(name, known)} Blocks with attention: '
        f'{", ".join(known) or "none"}.'
      )
  return names or list(known)
