"""Intersection over union."""

import jax
import jax.numpy as jnp

from ecanet_jax.detection.boxes.geometry import area
from ecanet_jax.detection.presets import Preset


def iou(first: jax.Array, second: jax.Array, preset: Preset) -> jax.Array:
  """IoU of every pair of boxes `[N, 4]` and `[M, 4]`, as `[N, M]`; 0 where the union is 0."""
  a, b = first[:, None, :], second[None, :, :]
  width = jnp.minimum(a[..., 2], b[..., 2]) - jnp.maximum(a[..., 0], b[..., 0]) + preset.pixel
  height = jnp.minimum(a[..., 3], b[..., 3]) - jnp.maximum(a[..., 1], b[..., 1]) + preset.pixel
  both = jnp.maximum(width, 0.0) * jnp.maximum(height, 0.0)
  union = area(first, preset)[:, None] + area(second, preset)[None, :] - both
  return both / jnp.where(union > 0, union, 1.0)
