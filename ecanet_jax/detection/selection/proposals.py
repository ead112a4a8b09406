"""Proposals of an image: the best anchors after NMS within each level."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ecanet_jax.detection.boxes.coder import decode
from ecanet_jax.detection.boxes.geometry import at_least, clip
from ecanet_jax.detection.boxes.nms import nms
from ecanet_jax.detection.presets import Preset
from ecanet_jax.detection.selection.best import best_rows


class Proposals(NamedTuple):
  """Proposals of an image, the best first: boxes `[P, 4]`, scores `[P]`, and which rows count."""

  boxes: jax.Array
  scores: jax.Array
  valid: jax.Array


def select_proposals(logits: jax.Array, deltas: jax.Array, anchors: jax.Array,
                     on_image: jax.Array, level_sizes: tuple[int, ...], image_size: jax.Array,
                     preset: Preset, training: bool, method: str = '') -> Proposals:
  """The best anchors of each level, decoded and clipped, after NMS; nothing gets a gradient.

  Args:
    logits: objectness, `[A]`.
    deltas: offsets from the anchors, `[A, 4]`.
    anchors: `[A, 4]`.
    on_image: `[A]`, which anchors are the image's (`anchors_on_image`).
    level_sizes: anchors of each level.
    image_size: height and width without padding, `[2]`.
    preset: rules and numbers.
    training: which of the two numbers of `preset.proposals` and `proposals_before_nms` hold.
    method: of `nms`.
  """
  before = (preset.proposals_before_nms if training else preset.proposals_before_nms[::-1])[0]
  after = (preset.proposals if training else preset.proposals[::-1])[0]
  logits, deltas = lax.stop_gradient((logits.astype(jnp.float32), deltas.astype(jnp.float32)))
  logits = jnp.where(on_image, logits, -jnp.inf)
  width = min(before, max(level_sizes))
  best = []
  start = 0
  for size in level_sizes:
    count = min(before, size)
    top, index = lax.top_k(lax.slice_in_dim(logits, start, start + size), count)
    best.append((jnp.pad(top, (0, width - count), constant_values=-jnp.inf),
                 jnp.pad(index + start, (0, width - count))))
    start += size
  logits, index = (jnp.stack(each) for each in zip(*best, strict=True))
  boxes = clip(decode(deltas[index], anchors[index], preset), image_size, preset)
  scores = jax.nn.sigmoid(logits)
  valid = (logits > -jnp.inf) & at_least(boxes, preset.proposal_size, preset)
  keep = jax.vmap(lambda *level: nms(*level, preset.proposal_iou, preset, method))(
    boxes, scores, valid)
  scores, valid, boxes = best_rows(
    scores.reshape(-1), keep.reshape(-1), after, boxes.reshape(-1, 4))
  return Proposals(boxes, scores, valid)
