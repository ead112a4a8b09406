"""The box coder: a box as offsets from an anchor or a proposal.

Girshick et al., Rich feature hierarchies for accurate object detection (2014), appendix C.
"""

import math

import jax
import jax.numpy as jnp

from ecanet_jax.detection.boxes.geometry import sides
from ecanet_jax.detection.presets import Preset

Weights = tuple[float, float, float, float]

ONES: Weights = (1.0, 1.0, 1.0, 1.0)  # the proposals' weights
LARGEST = math.log(1000 / 16)  # of dw and dh


def encode(boxes: jax.Array, anchors: jax.Array, preset: Preset,
           weights: Weights = ONES) -> jax.Array:
  """Offsets (dx, dy, dw, dh) from anchors to boxes, each `[..., 4]`.

  A box or an anchor without area has infinite or undefined offsets: mask it.

  Args:
    boxes: where the offsets lead to.
    anchors: where they start.
    preset: how wide a box is.
    weights: factors of the four offsets; `preset.box_weights` in the box head.
  """
  x, y, width, height = _centres(boxes, preset)
  anchor_x, anchor_y, anchor_width, anchor_height = _centres(anchors, preset)
  wx, wy, ww, wh = weights
  return jnp.stack([
    wx * (x - anchor_x) / anchor_width,
    wy * (y - anchor_y) / anchor_height,
    ww * jnp.log(width / anchor_width),
    wh * jnp.log(height / anchor_height),
  ], axis=-1)


def decode(deltas: jax.Array, anchors: jax.Array, preset: Preset,
           weights: Weights = ONES) -> jax.Array:
  """The boxes to which offsets lead from anchors, each `[..., 4]`; the inverse of `encode`.

  dw and dh are clamped to log(1000 / 16). The boxes are not clipped.
  """
  x, y, width, height = _centres(anchors, preset)
  dx, dy, dw, dh = (
    delta / weight for delta, weight in zip(jnp.moveaxis(deltas, -1, 0), weights, strict=True))
  least = -LARGEST if preset.symmetric_clamp else -jnp.inf
  half_width = (jnp.exp(jnp.clip(dw, least, LARGEST)) * width - preset.pixel) * 0.5
  half_height = (jnp.exp(jnp.clip(dh, least, LARGEST)) * height - preset.pixel) * 0.5
  x, y = dx * width + x, dy * height + y
  return jnp.stack([x - half_width, y - half_height, x + half_width, y + half_height], axis=-1)


def _centres(boxes: jax.Array, preset: Preset) -> tuple[jax.Array, ...]:
  """Centre x, centre y, width, height."""
  width, height = sides(boxes, preset)
  x = boxes[..., 0] + 0.5 * (width - preset.pixel)
  y = boxes[..., 1] + 0.5 * (height - preset.pixel)
  return x, y, width, height
