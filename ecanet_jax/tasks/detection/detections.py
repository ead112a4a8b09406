"""What a detector has found, and how COCO writes it."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ecanet_jax.data.detection import masks
from ecanet_jax.data.detection.annotations import Category


@dataclasses.dataclass(frozen=True)
class Detections:
  """The objects that were found on one image.

  Attributes:
    image_id: COCO's number of the image.
    boxes: float [k, 4], x1, y1, x2, y2 in pixels of the image as it is stored.
    scores: float [k].
    labels: int [k], from 0.
    masks: k masks as run lengths (`masks.encode`), or None.
  """

  image_id: int
  boxes: np.ndarray
  scores: np.ndarray
  labels: np.ndarray
  masks: tuple[dict[str, Any], ...] | None = None


def stored_boxes(
  boxes: np.ndarray, scale: np.ndarray, height: int, width: int
) -> np.ndarray:
  """Returns boxes in pixels of the image as it is stored, clipped to it, float64 [k, 4].

  Args:
    boxes: [k, 4] in pixels of the network's input.
    scale: y and x, as in the batches of `DetectionDataset`.
    height: of the stored image.
    width: of the stored image.
  """
  boxes = np.asarray(boxes, np.float64) / np.asarray(scale, np.float64)[[1, 0, 1, 0]]
  return np.clip(boxes, 0, [width, height, width, height])


def with_bitmaps(detections: Detections, bitmaps: np.ndarray) -> Detections:
  """Returns the detections with masks, which are bool [k, height, width] of the stored image."""
  return dataclasses.replace(detections, masks=tuple(map(masks.encode, bitmaps)))


def coco_results(
  found: Iterable[Detections], categories: Sequence[Category], kind: str
) -> list[dict[str, Any]]:
  """Returns the entries of a COCO result file.

  Args:
    found: of each image.
    categories: the classes by their label.
    kind: 'bbox' or 'segm'. Entries of masks have no 'bbox': pycocotools would take the area from
      it, and with it the size of the object.
  """
  entries = []
  for one in found:
    for place, ((x1, y1, x2, y2), score, label) in enumerate(
      zip(np.asarray(one.boxes, np.float64), one.scores, one.labels)
    ):
      entry = {
        'image_id': int(one.image_id), 'category_id': categories[int(label)].id,
        'score': float(score),
      }
      if kind == 'bbox':
        entry['bbox'] = [float(x1), float(y1), float(x2 - x1), float(y2 - y1)]
      else:
        entry['segmentation'] = one.masks[place]
      entries.append(entry)
  return entries
