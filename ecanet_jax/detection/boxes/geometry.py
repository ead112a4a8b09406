"""Sides of boxes, boxes in an image, small boxes."""

import jax
import jax.numpy as jnp

from ecanet_jax.detection.presets import Preset


def sides(boxes: jax.Array, preset: Preset) -> tuple[jax.Array, jax.Array]:
  """Width and height of boxes `[..., 4]`, each `[...]`, in pixels."""
  return (boxes[..., 2] - boxes[..., 0] + preset.pixel,
          boxes[..., 3] - boxes[..., 1] + preset.pixel)


def area(boxes: jax.Array, preset: Preset) -> jax.Array:
  """Width x height of boxes `[..., 4]`, as `[...]`."""
  width, height = sides(boxes, preset)
  return width * height


def clip(boxes: jax.Array, image_size: jax.Array, preset: Preset) -> jax.Array:
  """Boxes `[..., 4]` cut to an image of `image_size` (height, width) pixels."""
  height, width = jnp.asarray(image_size, boxes.dtype) - jnp.asarray(preset.pixel, boxes.dtype)
  x1, y1, x2, y2 = jnp.moveaxis(boxes, -1, 0)
  return jnp.stack([jnp.clip(x1, 0.0, width), jnp.clip(y1, 0.0, height),
                    jnp.clip(x2, 0.0, width), jnp.clip(y2, 0.0, height)], axis=-1)


def at_least(boxes: jax.Array, side: float, preset: Preset) -> jax.Array:
  """Whether both sides of boxes `[..., 4]` are at least `side` pixels; `side` 0 keeps all."""
  width, height = sides(boxes, preset)
  return (width >= side) & (height >= side) | (side <= 0)
