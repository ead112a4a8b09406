"""Detections of RetinaNet: the best anchors of each level, after NMS within each class."""

import jax
import jax.numpy as jnp
from jax import lax

from ecanet_jax.detection.boxes.coder import decode
from ecanet_jax.detection.boxes.geometry import clip
from ecanet_jax.detection.presets import Preset
from ecanet_jax.detection.selection.detections import Detections, best_detections


def select_from_anchors(logits: jax.Array, deltas: jax.Array, anchors: jax.Array,
                        on_image: jax.Array, level_sizes: tuple[int, ...], image_size: jax.Array,
                        preset: Preset, method: str = '') -> Detections:
  """Takes the best anchors of each level, drops low scores, and takes the best after NMS.

  Args:
    logits: `[A, K]`, without the background.
    deltas: offsets from the anchors, `[A, 4]`.
    anchors: `[A, 4]`.
    on_image: `[A]`, which anchors are the image's (`anchors_on_image`).
    level_sizes: anchors of each level.
    image_size: height and width without padding, `[2]`.
    preset: rules and numbers.
    method: of `nms`.
  """
  most = preset.proposals_before_nms[1]
  logits = jnp.where(on_image[:, None], logits.astype(jnp.float32), -jnp.inf)
  rows, usable, start = [], [], 0
  for size in level_sizes:
    level = lax.slice_in_dim(logits, start, start + size)
    # The best pairs are among the anchors of the best classes.
    _, index = lax.top_k(jnp.max(level, axis=1), min(most, size))
    rows.append(index + start)
    usable.append(_best_pairs(level[index], most) if preset.best_pairs
                  else jnp.ones((len(index), logits.shape[1]), bool))
    start += size
  index, usable = jnp.concatenate(rows), jnp.concatenate(usable)
  boxes = decode(deltas.astype(jnp.float32)[index], anchors[index], preset, preset.box_weights)
  boxes = clip(boxes, image_size, preset)
  scores = jax.nn.sigmoid(logits[index])
  usable &= scores > preset.score
  boxes = jnp.broadcast_to(boxes, (scores.shape[1], *boxes.shape))
  return best_detections(boxes, scores.T, usable.T, preset, method)


def _best_pairs(logits: jax.Array, number: int) -> jax.Array:
  """Which pairs of an anchor and a class, `[N, K]`, are the `number` best."""
  flat = logits.reshape(-1)
  _, index = lax.top_k(flat, min(number, flat.size))
  chosen = jnp.zeros(flat.shape, bool).at[index].set(True, unique_indices=True)
  return chosen.reshape(logits.shape)
