"""Matches boxes with the ground truth by IoU."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ecanet_jax.detection.presets import MatchRule

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1


class Match(NamedTuple):
  """Which ground-truth box each box belongs to.

  Attributes:
    kind: `[N]`: POSITIVE, NEGATIVE or IGNORED.
    box: `[N]`, row of the ground truth; 0 if `kind` is not POSITIVE.
  """

  kind: jax.Array
  box: jax.Array


def match(quality: jax.Array, valid: jax.Array, candidates: jax.Array, rule: MatchRule) -> Match:
  """Matches by IoU; of equal IoUs the first ground-truth box is taken.

  An image without ground truth has negatives only.

  Args:
    quality: IoU of G ground-truth boxes with N boxes, `[G, N]`.
    valid: `[G]`, which rows are ground truth.
    candidates: `[N]`, which boxes take part; the others are IGNORED.
    rule: the thresholds.
  """
  # The IoU is written down: computed twice, it might be rounded twice, and `==` would fail.
  quality = lax.optimization_barrier(
    jnp.where(valid[:, None] & candidates[None, :], quality, -1.0))
  best, box = jnp.max(quality, axis=0), jnp.argmax(quality, axis=0).astype(jnp.int32)
  kind = jnp.where(best >= rule.positive, POSITIVE,
                   jnp.where(best < rule.negative, NEGATIVE, IGNORED))
  if rule.best_box:
    highest = jnp.max(quality, axis=1)
    asks = ((quality == highest[:, None]) & (highest >= rule.best_box_iou)[:, None]
            & valid[:, None] & candidates[None, :])
    if rule.best_box_to_asker:
      rows = jnp.arange(quality.shape[0], dtype=jnp.int32)[:, None]
      asker = jnp.max(jnp.where(asks, rows, -1), axis=0)
      box = jnp.where(asker >= 0, asker, box)
    kind = jnp.where(jnp.any(asks, axis=0), POSITIVE, kind)
  kind = jnp.where(candidates, kind, IGNORED).astype(jnp.int32)
  return Match(kind, jnp.where(kind == POSITIVE, box, 0))
