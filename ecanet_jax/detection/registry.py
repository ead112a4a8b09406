"""The registered detectors: `create_detector`, `list_detectors`."""

import dataclasses
import fnmatch
from collections.abc import Mapping
from typing import Any

from ecanet_jax.detection.networks.detector import Detector
from ecanet_jax.detection.presets import Preset, get_preset
from ecanet_jax.detection.record import DetectorRecord
from ecanet_jax.detection.records import RECORDS
from ecanet_jax.models import create_model
from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.runtime.errors import UserError, closest, lookup

# Of every backbone, unless the caller says otherwise.
FROZEN = {'frozen_stages': 1, 'frozen_bn': True}


def detector_record(name: str) -> DetectorRecord:
  """The record of a registered detector.

  Raises:
    UserError: the name is not known.
  """
  return lookup(RECORDS, name, 'detector')


def list_detectors(pattern: str = '*') -> list[str]:
  """Names of the registered detectors that match a shell pattern such as 'eca_*', sorted."""
  return sorted(fnmatch.filter(RECORDS, pattern))


def create_detector(name: str, *, backbone: str | Mapping[str, Any] | ConvNet | None = None,
                    preset: str | Preset | None = None, **overrides: Any) -> Detector:
  """Makes a registered detector.

  Args:
    name: one of `list_detectors()`.
    backbone: another classification network: its name, or a mapping of `name` and fields of its
      module; without `name` the fields change the registered backbone. Its stem and first stage are
      frozen and its BatchNorm keeps its statistics, unless the mapping says otherwise. A module
      from `create_model` is taken as it is. None = the registered one.
    preset: 'torchvision' or 'mmdet1', or a `Preset`; None = the registered one.
    **overrides: fields of the detector's module, such as `num_classes=10`; None keeps the
      registered value.

  Returns:
    A Flax module. `model.init(key, images, train=False)` gives {'params', 'batch_stats'}.

  Raises:
    UserError: an unknown name or field, or a backbone that lacks a stride.
  """
  record = detector_record(name)
  fields = {field.name for field in dataclasses.fields(record.network)}
  known = fields - {'parent', 'name', 'backbone', 'preset'}
  arguments = dict(record.fields)
  for key, value in overrides.items():
    if value is None:
      continue
    if key not in known:
      raise UserError(
        f'{name} has no field {key!r}.{closest(key, known)} Known: {", ".join(sorted(known))}.')
    arguments[key] = value
  if not isinstance(preset, Preset):
    preset = get_preset(preset, record.presets) if preset else record.preset
  model = record.network(backbone=_backbone(record, backbone), preset=preset, **arguments)
  model.check()
  return model


def _backbone(record: DetectorRecord, backbone: Any) -> ConvNet:
  """The classification network without a classifier."""
  if isinstance(backbone, ConvNet):
    return backbone
  asked = {'name': backbone} if isinstance(backbone, str) else dict(backbone or {})
  name = asked.pop('name', None)
  fields = {**FROZEN, 'num_classes': 0}
  if name is None:
    name, fields = record.backbone, {**fields, **record.backbone_fields}
  return create_model(name, **{**fields, **asked})
