"""Test-time augmentation: the mean of the logits of several views of an image.

The mean is taken before the softmax, as in torchvision's example of FiveCrop and in timm.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from ecanet_jax.runtime.errors import lookup


@dataclasses.dataclass(frozen=True)
class Views:
  """The views of an image.

  Attributes:
    crops: number of square crops; 1 = the centre.
    mirror: whether each crop is also mirrored.
  """

  crops: int = 1
  mirror: bool = False

  @property
  def count(self) -> int:
    return self.crops * (1 + self.mirror)


CENTRE = Views()
VIEWS = {
  'none': CENTRE,
  'flip': Views(mirror=True),
  'five': Views(crops=5),  # the corners and the centre
  'ten': Views(crops=5, mirror=True),
}


def views(name: str) -> Views:
  """The views with this name.

  Raises:
    UserError: an unknown name.
  """
  return lookup(VIEWS, name, 'test-time augmentation (--tta)')


def mean_logits(apply: Callable, images: jax.Array, seen: Views) -> jax.Array:
  """The mean logits `[B, classes]` over the views.

  Args:
    apply: maps normalised images `[B, H, W, 3]` to logits.
    images: `[B, H, W, 3]`, or with several crops `[B, crops, H, W, 3]`.
    seen: the views.
  """
  if seen == CENTRE:
    return apply(images)
  if seen.crops == 1:
    images = images[:, None]
  if seen.mirror:
    images = jnp.concatenate([images, images[..., ::-1, :]], axis=1)
  # One view at a time, with the memory of one.
  return jax.lax.map(apply, jnp.moveaxis(images, 1, 0)).mean(0)
