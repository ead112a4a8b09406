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

CLASSES = 16  # at a time, which bounds the memory


class Detections(NamedTuple):
  """Detections of an image, the best first; rows that do not count are 0.

  Attributes:
    boxes: `[D, 4]`.
    scores: `[D]`.
    labels: `[D]`, class from 1.
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
    logits: `[P, K]`, class 0 is background.
    deltas: offsets of each class from the proposals, `[P, K, 4]`.
    proposals: `[P, 4]`.
    valid: `[P]`, which rows hold a proposal.
    image_size: height and width without padding, `[2]`.
    preset: rules and numbers.
    method: of `nms`.
  """
  scores = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)[:, 1:].T
  deltas = jnp.moveaxis(deltas.astype(jnp.float32)[:, 1:], 1, 0)

  def one_class(each: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    scores, deltas = each
    boxes = decode(deltas, proposals, preset, preset.box_weights)
    boxes = clip(boxes, image_size, preset)
    usable = valid & (scores > preset.score) & at_least(boxes, preset.detection_size, preset)
    return boxes, nms(boxes, scores, usable, preset.detection_iou, preset, method)

  boxes, keep = lax.map(one_class, (scores, deltas), batch_size=CLASSES)
  labels = jnp.broadcast_to(jnp.arange(1, keep.shape[0] + 1)[:, None], keep.shape)
  scores, valid, boxes, labels = best_rows(
    scores.reshape(-1), keep.reshape(-1), preset.detections, boxes.reshape(-1, 4),
    labels.reshape(-1))
  return Detections(boxes, scores, labels, valid)


def masks_of_classes(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Probabilities `[D, M, M]` of the masks of classes `[D]`, from logits `[D, M, M, K]`."""
  chosen = jnp.take_along_axis(logits, labels[:, None, None, None], axis=-1)[..., 0]
  return jax.nn.sigmoid(chosen.astype(jnp.float32))
