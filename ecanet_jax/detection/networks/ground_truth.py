"""What training tells a detector about its images.

Boxes, labels and masks are as `data.detection` has them in a batch.
"""

from typing import NamedTuple

import jax


class GroundTruth(NamedTuple):
  """What is on the images of a batch.

  Attributes:
    boxes: `[B, G, 4]`, x1, y1, x2, y2 in pixels of the network's input.
    labels: classes, `[B, G]`, from 0; a detector adds its background itself.
    valid: `[B, G]`, which rows hold an object.
    masks: uint8, from 0 to 255 = the object, so that a crop can have soft edges: of the image,
      `[B, G, H, W]`, or within `frames`, `[B, G, S, S]`. None = none; only Mask R-CNN needs them.
    frames: where each mask lies, `[B, G, 4]`; None = masks are of the image.
  """

  boxes: jax.Array
  labels: jax.Array
  valid: jax.Array
  masks: jax.Array | None = None
  frames: jax.Array | None = None
