"""What training tells a detector about its images."""

from typing import NamedTuple

import jax


class GroundTruth(NamedTuple):
  """What is on the images of a batch.

  Attributes:
    boxes: `[B, G, 4]`, x1, y1, x2, y2 in pixels of the network's input.
    labels: classes, `[B, G]`, from 0; a detector adds its background itself.
    valid: `[B, G]`, which rows hold an object.
    masks: from 0 to 1 = the object: of the image, `[B, G, H, W]`, or within `frames`,
      `[B, G, S, S]`; None = none. RetinaNet and Faster R-CNN do not use them.
    frames: where each mask lies, `[B, G, 4]`; None = masks are of the image.
  """

  boxes: jax.Array
  labels: jax.Array
  valid: jax.Array
  masks: jax.Array | None = None
  frames: jax.Array | None = None
