"""Targets of RetinaNet: every anchor has one."""

from typing import NamedTuple

import jax

from ecanet_jax.detection.boxes.anchors import trainable_anchors
from ecanet_jax.detection.boxes.coder import encode
from ecanet_jax.detection.boxes.iou import iou
from ecanet_jax.detection.presets import Preset
from ecanet_jax.detection.targets.matcher import match


class DenseTargets(NamedTuple):
  """What the anchors of an image should say.

  Attributes:
    kind: `[A]`: POSITIVE, NEGATIVE or IGNORED (`targets.matcher`).
    labels: `[A]`, class from 0, of the positives; undefined in other rows.
    deltas: `[A, 4]`, offsets to the ground truth, of the positives; undefined in other rows.
  """

  kind: jax.Array
  labels: jax.Array
  deltas: jax.Array


def dense_targets(anchors: jax.Array, on_image: jax.Array, boxes: jax.Array, labels: jax.Array,
                  valid: jax.Array, image_size: jax.Array, preset: Preset) -> DenseTargets:
  """Matches the anchors of an image and encodes their boxes.

  Args:
    anchors: `[A, 4]`.
    on_image: `[A]`, which anchors are the image's (`anchors_on_image`).
    boxes: ground truth, `[G, 4]`.
    labels: their classes, `[G]`, from 0.
    valid: `[G]`, which rows are ground truth.
    image_size: height and width without padding, `[2]`.
    preset: `rpn_match`, and how wide a box is.
  """
  candidates = on_image & trainable_anchors(anchors, image_size, preset)
  matched = match(iou(boxes, anchors, preset), valid, candidates, preset.rpn_match)
  deltas = encode(boxes[matched.box], anchors, preset, preset.box_weights)
  return DenseTargets(matched.kind, labels[matched.box], deltas)
