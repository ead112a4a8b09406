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

_OF_THE_MODULE = ('channels', 'hidden', 'mask_convs')


def is_detector(name: str) -> bool:
  """Whether a network's name is a detector's."""
  return name in RECORDS


def create_from_config(section: Mapping[str, Any], **extra: Any) -> nn.Module:
  """Makes the network of a recipe's `model` section.

  Args:
    section: `config.model`, a ConfigDict or its JSON.
    **extra: fields of the network, or of a detector's backbone, such as `dtype`.

  Raises:
    UserError: the section describes no network.
  """
  if not is_detector(section['name']):
    return registry.create_from_config(section, **extra)
  name = section['name']
  backbone = {key: value for key, value in section.items()
              if key not in ('name', 'num_classes', 'backbone', 'detector')}
  record, chosen = detector_record(name), section.get('backbone')
  # The registered backbone's fields come first, so that keys of `model` change them.
  registered = {} if chosen else record.backbone_fields
  fields = {'name': chosen or record.backbone, **registered}
  for key, value in backbone.items():
    if isinstance(value, Mapping):
      value = {**fields.get(key, {}), **{k: v for k, v in value.items() if v is not None}}
    if value is not None and value != {}:
      fields[key] = value
  rules = {key: tuple(value) if isinstance(value, list) else value
           for key, value in (section.get('detector') or {}).items() if value is not None}
  own = {key: rules.pop(key) for key in _OF_THE_MODULE if key in rules}
  return create_detector(
    name, num_classes=section['num_classes'], preset=_preset(record, rules),
    backbone=registry.create_from_config({**fields, 'num_classes': 0}, **extra), **own,
  )


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
