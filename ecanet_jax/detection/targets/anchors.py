"""Targets of the region proposal network."""

from typing import NamedTuple

import jax

from ecanet_jax.detection.boxes.anchors import trainable_anchors
from ecanet_jax.detection.boxes.coder import encode
from ecanet_jax.detection.boxes.iou import iou
from ecanet_jax.detection.presets import Preset
from ecanet_jax.detection.targets.matcher import match
from ecanet_jax.detection.targets.sampler import Samples, sample


class AnchorTargets(NamedTuple):
  """The anchors of an image that were drawn, and the offsets that they should have.

  Attributes:
    samples: rows of the anchors, `[S]`.
    deltas: `[S, 4]`, of the positives; undefined in other rows.
  """

  samples: Samples
  deltas: jax.Array


def anchor_targets(key: jax.Array, anchors: jax.Array, on_image: jax.Array, boxes: jax.Array,
                   valid: jax.Array, image_size: jax.Array, preset: Preset) -> AnchorTargets:
  """Matches the anchors of an image, draws some of them and encodes their boxes.

  Args:
    key: of this image.
    anchors: `[A, 4]`.
    on_image: `[A]`, which anchors are the image's (`anchors_on_image`).
    boxes: ground truth, `[G, 4]`.
    valid: `[G]`, which rows are ground truth.
    image_size: height and width without padding, `[2]`.
    preset: rules and numbers.
  """
  candidates = on_image & trainable_anchors(anchors, image_size, preset)
  matched = match(iou(boxes, anchors, preset), valid, candidates, preset.rpn_match)
  samples = sample(key, matched.kind, preset.rpn_samples, preset.rpn_positive)
  deltas = encode(boxes[matched.box[samples.index]], anchors[samples.index], preset)
  return AnchorTargets(samples, deltas)
