"""Detections of an image: the box head's boxes after NMS within each class."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ecanet_jax.detection.boxes.coder import decode
from ecanet_jax.detection.boxes.geometry import at_least, clip
from ecanet_jax.detection.boxes.nms import nms
from ecanet_jax.detection.presets import Preset
from ecanet_jax.detection.selection.best import best_rows

PAIRS = 1 << 24  # of boxes that NMS compares at a time, which bounds the memory


class Detections(NamedTuple):
  """Detections of an image, the best first; rows that do not count are 0.

  Attributes:
    boxes: `[D, 4]`.
    scores: `[D]`.
    labels: `[D]`, class from 0.
    valid: `[D]`, which rows count.
  """

  boxes: jax.Array
  scores: jax.Array
  labels: jax.Array
  valid: jax.Array


def select_detections(logits: jax.Array, deltas: jax.Array, proposals: jax.Array,
                      valid: jax.Array, image_size: jax.Array, preset: Preset,
                      method: str = '') -> Detections:
  """Decodes the boxes of all classes, drops low scores, and takes the best after NMS.

  Args:
    logits: `[P, K]`; output 0 is the background.
    deltas: offsets of each output from the proposals, `[P, K, 4]`.
    proposals: `[P, 4]`.
    valid: `[P]`, which rows hold a proposal.
    image_size: height and width without padding, `[2]`.
    preset: rules and numbers.
    method: of `nms`.
  """
  scores = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)[:, 1:].T
  deltas = jnp.moveaxis(deltas.astype(jnp.float32)[:, 1:], 1, 0)
  boxes = clip(decode(deltas, proposals[None], preset, preset.box_weights), image_size, preset)
  return best_detections(boxes, scores, valid[None] & (scores > preset.score), preset, method)


def best_detections(boxes: jax.Array, scores: jax.Array, usable: jax.Array, preset: Preset,
                    method: str = '') -> Detections:
  """The best boxes of all classes after NMS within each class.

  Args:
    boxes: of each class, `[K, N, 4]`.
    scores: `[K, N]`.
    usable: `[K, N]`, which boxes take part.
    preset: rules and numbers.
    method: of `nms`.
  """
  usable &= at_least(boxes, preset.detection_size, preset)
  keep = lax.map(
    lambda each: nms(*each, preset.detection_iou, preset, method), (boxes, scores, usable),
    batch_size=max(PAIRS // scores.shape[1] ** 2, 1))
  labels = jnp.broadcast_to(jnp.arange(len(keep))[:, None], keep.shape)
  scores, valid, boxes, labels = best_rows(
    scores.reshape(-1), keep.reshape(-1), preset.detections, boxes.reshape(-1, 4),
    labels.reshape(-1))
  return Detections(boxes, scores, labels, valid)


def masks_of_classes(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Probabilities `[D, M, M]` of the masks of classes `[D]`, from 0.

  The logits `[D, M, M, K]` have a mask of the background first.
  """
  chosen = jnp.take_along_axis(logits, labels[:, None, None, None] + 1, axis=-1)[..., 0]
  return jax.nn.sigmoid(chosen.astype(jnp.float32))
