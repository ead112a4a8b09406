"""Deletion and insertion curves: does the network need what a map marks?

Petsiuk et al., RISE (2018), section 4.3. Deletion blurs the cells of the highest values first; a
good map makes the probability fall soon. Insertion starts with the blurred picture and brings these
cells back first; a good map makes the probability rise soon. The area under a curve sums it up.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

STEPS = 25  # parts in which the cells change
BLUR = 0.05  # radius of the Gaussian / side of the picture


@dataclasses.dataclass(frozen=True)
class Curves:
  """The probability of a class while cells change.

  Attributes:
    share: of the cells that have changed, `[S + 1]`, 0 to 1.
    deletion: probabilities `[S + 1]`.
    insertion: probabilities `[S + 1]`.
  """

  share: np.ndarray
  deletion: np.ndarray
  insertion: np.ndarray

  def areas(self) -> tuple[float, float]:
    """Areas under deletion (low is good) and insertion (high is good)."""
    both = self.deletion, self.insertion
    return tuple(float(np.trapezoid(curve, self.share)) for curve in both)


def blurred(image: Image.Image) -> Image.Image:
  """The picture without its details."""
  return image.filter(ImageFilter.GaussianBlur(BLUR * image.width))


def curves(
  values: np.ndarray, image: np.ndarray, without: np.ndarray,
  probability: Callable[[np.ndarray], np.ndarray], steps: int = STEPS,
) -> Curves:
  """Computes both curves of one picture.

  Args:
    values: the map `[h, w]`.
    image: the network's input `[H, W, C]`.
    without: the same of the blurred picture.
    probability: inputs `[N, H, W, C]` -> probabilities of the class `[N]`.
    steps: parts in which the cells change.
  """
  order = np.argsort(-values, axis=None, kind='stable')
  rank = np.empty(order.size, int)
  rank[order] = np.arange(order.size)
  rows, columns = (
    np.minimum(((np.arange(length) + 0.5) * cells / length).astype(int), cells - 1)
    for length, cells in zip(image.shape[:2], values.shape, strict=True)
  )
  rank = rank.reshape(values.shape)[rows][:, columns][..., None]
  counts = np.unique(np.round(np.linspace(0, order.size, steps + 1)).astype(int))
  deleted = np.stack([np.where(rank < count, without, image) for count in counts])
  inserted = np.stack([np.where(rank < count, image, without) for count in counts])
  return Curves(counts / order.size, probability(deleted), probability(inserted))
