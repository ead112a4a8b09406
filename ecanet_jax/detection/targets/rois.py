"""Targets of the box head."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ecanet_jax.detection.boxes.coder import encode
from ecanet_jax.detection.boxes.iou import iou
from ecanet_jax.detection.presets import Preset
from ecanet_jax.detection.targets.matcher import IGNORED, POSITIVE, Match, match
from ecanet_jax.detection.targets.sampler import sample


class RoITargets(NamedTuple):
  """The RoIs of an image that were drawn: positives first, then negatives, then empty rows.

  The first `int(preset.roi_samples * preset.roi_positive)` rows hold every positive, so the mask
  head needs no other rows.

  Attributes:
    boxes: `[S, 4]`; in empty rows any box.
    valid: `[S]`, which rows hold a RoI.
    positive: `[S]`, which rows hold a positive.
    labels: `[S]`, output of the box head: 0 is the background, 1 the first class.
    deltas: `[S, 4]`, offsets to the ground truth, of the positives; undefined in other rows.
    matched: `[S]`, row of the ground truth, of the positives; 0 in other rows.
  """

  boxes: jax.Array
  valid: jax.Array
  positive: jax.Array
  labels: jax.Array
  deltas: jax.Array
  matched: jax.Array


def roi_targets(key: jax.Array, proposals: jax.Array, proposal_valid: jax.Array,
                boxes: jax.Array, labels: jax.Array, valid: jax.Array,
                preset: Preset) -> RoITargets:
  """Adds the ground truth to the proposals, matches them, draws some and encodes their boxes.

  Args:
    key: of this image.
    proposals: `[P, 4]`; they get no gradient.
    proposal_valid: `[P]`.
    boxes: ground truth, `[G, 4]`.
    labels: their classes, `[G]`, from 0.
    valid: `[G]`, which rows are ground truth.
    preset: rules and numbers.
  """
  candidates = jnp.concatenate([lax.stop_gradient(proposals), boxes])
  usable = jnp.concatenate([proposal_valid, valid])
  if preset.match_ground_truth:
    matched = match(iou(boxes, candidates, preset), valid, usable, preset.roi_match)
  else:
    matched = _join(match(iou(boxes, proposals, preset), valid, proposal_valid, preset.roi_match),
                    valid)
  samples = sample(key, matched.kind, preset.roi_samples, preset.roi_positive)
  chosen, box = candidates[samples.index], matched.box[samples.index]
  return RoITargets(
    chosen, samples.valid, samples.positive, jnp.where(samples.positive, labels[box] + 1, 0),
    encode(boxes[box], chosen, preset, preset.box_weights), jnp.where(samples.positive, box, 0))


def _join(proposals: Match, valid: jax.Array) -> Match:
  """The match of the proposals with the ground truth behind it, each box matched with itself."""
  itself = jnp.arange(valid.shape[0], dtype=jnp.int32)
  kind = jnp.where(valid, POSITIVE, IGNORED).astype(jnp.int32)
  return Match(jnp.concatenate([proposals.kind, kind]), jnp.concatenate([proposals.box, itself]))
