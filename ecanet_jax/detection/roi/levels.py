"""Which level of a feature pyramid serves a RoI.

Lin et al., Feature Pyramid Networks for Object Detection (2017), equation 1.
"""

import jax
import jax.numpy as jnp

from ecanet_jax.detection.boxes.geometry import area
from ecanet_jax.detection.presets import Preset

EPS = 1e-6


def roi_levels(boxes: jax.Array, levels: int, preset: Preset) -> jax.Array:
  """The level of boxes `[R, 4]`: `[R]`, from 0 for P2 to `levels` - 1.

  A level is counted for each boundary that the side reaches, which needs no logarithm.
  """
  side = jnp.sqrt(jnp.maximum(area(boxes, preset), 0.0))
  factors = ([2.0 ** (level - EPS) for level in range(1, levels)] if preset.roi_level_eps_in_log
             else [2.0**level - EPS for level in range(1, levels)])
  boundaries = preset.finest_roi * jnp.asarray(factors, jnp.float32)
  return jnp.sum(side[:, None] >= boundaries[None, :], axis=1)
