"""What is on images: boxes, labels and masks, and the interface of a split."""

import dataclasses
from typing import Any, NamedTuple, Protocol

import numpy as np

from ecanet_jax.data.detection.masks import Segmentation
from ecanet_jax.data.detection.settings import Settings


class Category(NamedTuple):
  """A class.

  Attributes:
    id: COCO's number, which may have gaps. Labels have none.
    name: for messages and tables.
  """

  id: int
  name: str


@dataclasses.dataclass(frozen=True)
class Instances:
  """The objects of one image, without crowds.

  Attributes:
    boxes: float32 [k, 4], x1, y1, x2, y2 in pixels of the image as it is stored.
    labels: int32 [k], from 0 without gaps.
    segmentations: k masks as COCO writes them, or () without masks.
  """

  boxes: np.ndarray
  labels: np.ndarray
  segmentations: tuple[Segmentation, ...] = ()


class DetectionSplit(Protocol):
  """The images of one split.

  Attributes:
    name: for messages.
    categories: the classes by their label.
    ids: COCO's number of each image, int64 [n].
    sizes: heights and widths, int32 [n, 2].
  """

  name: str
  categories: tuple[Category, ...]
  ids: np.ndarray
  sizes: np.ndarray

  def load(self, index: int) -> tuple[np.ndarray, Instances]:
    """Returns an image, uint8 [height, width, 3], and what is on it."""

  def trainable(self, settings: Settings) -> np.ndarray:
    """Returns the numbers of the images that training uses, int64, ascending."""

  def ground_truth(self) -> dict[str, Any]:
    """Returns the content of a COCO JSON, with crowds, for the evaluation."""

  def check(self) -> None:
    """Raises UserError if images are missing, cannot be read or have another size."""
