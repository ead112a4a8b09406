"""A network whose attention does not depend on the image, block by block.

A block's weights become their mean over the images (constant) or 1 (removed). If the answers stay
the same, the block's attention could be part of the next kernel (`export --static_attention`).
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np

from ecanet_jax.analysis.effect.change import Change, Score, score
from ecanet_jax.analysis.gates import collect, viewer
from ecanet_jax.analysis.run import Run

CONSTANT, REMOVED = 'constant', 'removed'
ALL = 'all'  # blocks at once


@dataclasses.dataclass(frozen=True)
class StaticAttention:
  """The scores of one network.

  Attributes:
    path: of the weights.
    title: network and data set.
    reference: of the unchanged network.
    blocks: in the network's order, then `ALL`.
    constant: of each of `blocks`.
    removed: of each of `blocks`.
  """

  path: str
  title: str
  reference: Score
  blocks: tuple[str, ...]
  constant: tuple[Score, ...]
  removed: tuple[Score, ...]


def static_attention(run: Run, blocks: Sequence[str] = ()) -> StaticAttention:
  """Scores a network with the attention of each block, and of all, constant and removed.

  The constants are means over the images that are scored.

  Args:
    run: network and images, which are read twice.
    blocks: names of blocks, ours or the papers'; () = all.

  Raises:
    UserError: the network has no attention, or no such block.
  """
  sums = collect(
    functools.partial(viewer(run.model, blocks), run.variables), run.batches('mean weights'),
    len(run.names),
  )
  means = {
    block: gates.weights.total.sum(0) / gates.weights.count.sum() for block, gates in sums.items()
  }
  variants = changes_of(means)
  channels = {block: len(mean) for block, mean in means.items()}
  reference, scores = score(
    run.model, run.variables, run.batches('changed weights'), channels, variants
  )
  names = (*means, ALL)
  return StaticAttention(
    run.path, run.title, reference, names,
    tuple(scores[block, CONSTANT] for block in names),
    tuple(scores[block, REMOVED] for block in names),
  )


def changes_of(means: Mapping[str, np.ndarray]) -> dict[tuple[str, str], dict[str, Change]]:
  """(block or `ALL`, `CONSTANT` or `REMOVED`) -> changes, from the mean weights of each block."""
  kinds = {
    CONSTANT: {block: Change.constant(mean) for block, mean in means.items()},
    REMOVED: {block: Change.constant(np.ones_like(mean)) for block, mean in means.items()},
  }
  return {
    (block, kind): changes if block == ALL else {block: changes[block]}
    for block in (*means, ALL) for kind, changes in kinds.items()
  }
