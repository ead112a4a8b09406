"""Non-maximum suppression of one set of boxes; exact, in two forms with the same result.

A box is kept if no kept box with a better score overlaps it with an IoU above the threshold.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from ecanet_jax.detection.boxes.iou import iou
from ecanet_jax.detection.presets import Preset


def nms(boxes: jax.Array, scores: jax.Array, valid: jax.Array, threshold: float, preset: Preset,
        method: str = '') -> jax.Array:
  """Which boxes are kept.

  Equal scores rank by index. Boxes and scores get no gradient.

  Args:
    boxes: `[N, 4]`.
    scores: `[N]`.
    valid: `[N]`; other boxes are neither kept nor drop a box.
    threshold: a box of a higher IoU with a better kept box is dropped; of an equal one is kept.
    preset: how wide a box is.
    method: 'matrix' (all pairs, a few parallel rounds), 'sequential' (box by box); '' is the
      sequential form on a CPU and the matrix elsewhere.

  Returns:
    `[N]`, True or False, in the order of `boxes`.
  """
  boxes, scores = lax.stop_gradient((boxes, scores))
  order = jnp.argsort(jnp.where(valid, -scores, jnp.inf), stable=True)
  forms = {name: functools.partial(form, threshold=threshold, preset=preset)
           for name, form in (('matrix', _matrix), ('sequential', _sequential))}
  ranked = boxes[order], valid[order]
  if method:
    keep = forms[method](*ranked)
  else:
    keep = lax.platform_dependent(*ranked, cpu=forms['sequential'], default=forms['matrix'])
  return jnp.zeros_like(keep).at[order].set(keep, unique_indices=True)


def _matrix(boxes: jax.Array, valid: jax.Array, threshold: float, preset: Preset) -> jax.Array:
  """Repeats `kept = no better kept box overlaps` for all boxes at once until nothing changes.

  Round n is right for every box whose fate hangs on a chain of fewer than n boxes.
  """
  ranks = jnp.arange(boxes.shape[0])
  better = ranks[:, None] < ranks[None, :]
  drops = (iou(boxes, boxes, preset) > threshold) & better & valid[:, None]

  def once_more(state):
    keep, _ = state
    again = valid & ~jnp.any(drops & keep[:, None], axis=0)
    return again, jnp.any(again != keep)

  return lax.while_loop(lambda state: state[1], once_more, (valid, jnp.bool_(True)))[0]


def _sequential(boxes: jax.Array, valid: jax.Array, threshold: float, preset: Preset) -> jax.Array:
  """Goes through the boxes from the best to the last valid one; each that is kept drops others."""
  ranks = jnp.arange(boxes.shape[0])

  def one(rank, keep):
    overlap = iou(lax.dynamic_slice_in_dim(boxes, rank, 1), boxes, preset)[0]
    return keep & ~((overlap > threshold) & (ranks > rank) & keep[rank])

  return lax.fori_loop(0, jnp.sum(valid), one, valid)
