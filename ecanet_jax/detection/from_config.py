"""The network of a config: a detector, or a classification network."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
from jax.sharding import Mesh

from ecanet_jax.detection.presets import Preset, get_preset
from ecanet_jax.detection.record import DetectorRecord
from ecanet_jax.detection.records import RECORDS
from ecanet_jax.detection.registry import create_detector, detector_record
from ecanet_jax.models import registry
from ecanet_jax.models.from_config import how_it_computes
from ecanet_jax.runtime.errors import UserError, closest

# Keys of `model.detector` that are no rules. A network without such a head ignores them.
_OF_THE_MODULE = ('channels', 'hidden', 'mask_convs')


def is_detector(name: Any) -> bool:
  """Whether this is the name of a detector; a damaged file may have anything in its place."""
  return isinstance(name, str) and name in RECORDS


def create_from_config(section: Mapping[str, Any], **extra: Any) -> nn.Module:
  """Makes the network of a recipe's `model` section.

  Args:
    section: `config.model`, a ConfigDict or its JSON.
    **extra: fields of the network, or of a detector's backbone, such as `dtype`.

  Raises:
    UserError: the section describes no network.
  """
  name = section['name']
  if not is_detector(name):
    unknown = isinstance(name, str) and name not in registry.NETWORKS
    if unknown and (near := closest(name, RECORDS, cutoff=0.6)):
      raise UserError(f'unknown model {name!r}.{near} `python -m ecanet_jax models` lists them.')
    return registry.create_from_config(section, **extra)
  record = detector_record(name)
  rules = {key: tuple(value) if isinstance(value, list) else value
           for key, value in (section.get('detector') or {}).items() if value is not None}
  own = {key: rules.pop(key) for key in _OF_THE_MODULE if key in rules}
  parts = {field.name for field in dataclasses.fields(record.network)}
  own = {key: value for key, value in own.items() if key in parts}
  return create_detector(
    record.name, num_classes=section['num_classes'], preset=_preset(record, rules),
    backbone=registry.create_from_config(backbone_section(section), **extra), **own,
  )


def backbone_section(section: Mapping[str, Any]) -> dict[str, Any]:
  """The `model` section of a detector's backbone, without a classifier.

  Args:
    section: of the detector.
  """
  record, chosen = detector_record(section['name']), section.get('backbone')
  fields = {'name': chosen, 'num_classes': 0} if chosen else {
    'name': record.backbone, 'num_classes': 0, **record.backbone_fields
  }
  for key, value in section.items():
    if key in ('name', 'num_classes', 'backbone', 'detector'):
      continue
    if hasattr(value, 'items'):  # of the attention; a ConfigDict is no Mapping
      changes = {name: one for name, one in value.items() if one is not None}
      value = {**fields.get(key, {}), **changes} if changes else None
    if value is not None:
      fields[key] = value
  return fields


def make_network(config, num_classes: int, mesh: Mesh) -> nn.Module:
  """The network of a config, for a data set with `num_classes` classes and a mesh of devices.

  Raises:
    UserError: the config has another number of classes, or describes no network.
  """
  return create_from_config(config.model, **how_it_computes(config, num_classes, mesh))


def _preset(record: DetectorRecord, rules: dict[str, Any]) -> Preset:
  """The rules of a preset, with changes by their name."""
  name = rules.pop('preset', None)
  preset = get_preset(name, record.presets) if name else record.preset
  return dataclasses.replace(preset, **rules)
