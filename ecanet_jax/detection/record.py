"""The record of a published detector: its parts and the figures of documents."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ecanet_jax.detection.networks.detector import Detector
from ecanet_jax.detection.presets import Preset, Presets

AP = ('AP', 'AP50', 'AP75', 'AP small', 'AP medium', 'AP large')  # on COCO val2017, in per cent


@dataclasses.dataclass(frozen=True)
class PublishedDetector:
  """The figures of a document for a detector, as printed.

  Attributes:
    source: document and tables.
    parameters: those that are trained, in 10^6.
    flops: in 10^9, in the convention of `detection.count`.
    boxes: the six figures of AP of the boxes; () = not printed.
    masks: the same of the masks.
  """

  source: str
  parameters: str
  flops: str
  boxes: tuple[str, ...] = ()
  masks: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class DetectorRecord:
  """A registered detector.

  Attributes:
    name: what users type.
    network: its flax module.
    source: code and file that it follows.
    backbone: the name of a classification network.
    backbone_fields: fields of it that differ.
    presets: the rules by name.
    fields: fields of the detector's module that differ.
    published: figures of a document; None = there are none.
  """

  name: str
  network: type[Detector]
  source: str
  backbone: str
  backbone_fields: Mapping[str, Any]
  presets: Presets
  fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  published: PublishedDetector | None = None

  @property
  def preset(self) -> Preset:
    """The rules of its source, mmdetection 1.x."""
    return self.presets['mmdet1']
