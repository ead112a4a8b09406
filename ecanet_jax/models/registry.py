"""The registered networks: `create_model`, `list_models`."""

import dataclasses
import fnmatch
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from ecanet_jax.models import (
  bn_inception,
  compact,
  efficientnet_networks,
  inception_resnet_v2,
  mec,
  mobilenetv2,
  other_names,
  resnet_networks,
  vgg,
)
from ecanet_jax.models.record import Network
from ecanet_jax.nn.attention import Attention
from ecanet_jax.runtime.errors import UserError, closest, lookup, one_line

NETWORKS: dict[str, Network] = {
  record.name: record
  for family in (
    efficientnet_networks, mobilenetv2, mec, compact, resnet_networks,
    vgg, bn_inception, inception_resnet_v2,
  )
  for record in family.NETWORKS
}


def network(name: str) -> Network:
  """The record of a registered network.

  Raises:
    UserError: the name is not known.
  """
  if name not in NETWORKS and (text := other_names.network_hint(str(name), NETWORKS)):
    raise UserError(text)
  return lookup(NETWORKS, name, 'model')


def list_models(pattern: str = '*') -> list[str]:
  """Names of the registered networks that match a shell pattern such as '*eca*', sorted."""
  return sorted(fnmatch.filter(NETWORKS, pattern))


def create_model(name: str, **overrides: Any) -> nn.Module:
  """Makes a registered network.

  Args:
    name: one of `list_models()`.
    **overrides: fields of the family's module, such as `num_classes=10`; None keeps the registered
      value. `attention` is a kind ('eca') or a mapping of fields of `Attention`
      ({'kind': 'eca', 'where': 'skip'}).

  Returns:
    A Flax module. `model.init(key, images, train=False)` gives {'params', 'batch_stats'}, and
    `model.apply(variables, images, train=False)` maps `[B, H, W, 3]` to logits `[B, classes]`. With
    `num_classes=0` it gives the pooled features `[B, C]`. `in_chans` is the number of channels of
    images that are not RGB, such as 1 for grey ones.

  Raises:
    UserError: an unknown name or field, or fields that the family cannot have.
  """
  record = network(name)
  arguments = dict(record.arguments)
  fields = {field.name for field in dataclasses.fields(record.family)} - {'parent', 'name'}
  for key, value in overrides.items():
    if value is None:
      continue
    if key not in fields:
      raise UserError(
        f'{name} has no field {key!r}.{other_names.field_hint(key) or closest(key, fields)} '
        f'Known: {", ".join(sorted(fields))}.'
      )
    if key == 'attention':
      registered = arguments.get('attention', record.family.attention)
      value = _override_attention(registered, value)
    arguments[key] = value
  model = record.family(**arguments)
  model.check()
  return model


# Errors of a family's constructor for values of impossible types.
_NO_NETWORK = (
  ArithmeticError, AttributeError, IndexError, LookupError, RecursionError, TypeError, ValueError,
)


def create_from_config(config: Mapping[str, Any], **extra: Any) -> nn.Module:
  """Makes the network of a recipe's `model` section.

  Args:
    config: `config.model`, a ConfigDict or its JSON; lists become tuples.
    **extra: further fields of the family's module, such as `dtype`.
  """

  def plain(value):
    if isinstance(value, Mapping):
      return {key: plain(item) for key, item in value.items()}
    return tuple(value) if isinstance(value, list) else value

  try:
    fields = plain(dict(config.items()))
    _drop_detector(fields)
    return create_model(fields.pop('name'), **fields, **extra)
  except UserError:
    raise
  except _NO_NETWORK as error:
    raise UserError(
      f'this model section describes no network: {type(error).__name__}: {one_line(error)}.'
    ) from error


def _drop_detector(fields: dict[str, Any]) -> None:
  """Removes the keys of detectors, which a section of a classification network leaves unset."""
  keys = {f'detector.{key}': value for key, value in (fields.pop('detector', None) or {}).items()}
  keys['backbone'] = fields.pop('backbone', None)
  for key, value in keys.items():
    if value is not None:
      network(fields['name'])  # an unknown name comes first
      raise UserError(
        f'model.{key}={value} is for detectors, and {fields["name"]} is none: leave it out, or set '
        'a detector such as --config.model.name=mask_rcnn_r50_fpn.'
      )


def _override_attention(registered: Attention, value) -> Attention:
  if isinstance(value, Attention):
    return value
  changes = {'kind': value} if isinstance(value, str) else dict(value)
  fields = [field.name for field in dataclasses.fields(Attention)]
  for key in changes:
    if key not in fields:
      raise UserError(
        f'attention has no field {key!r}.{closest(key, fields)} Known: {", ".join(fields)}.'
      )
  return dataclasses.replace(registered, **{k: v for k, v in changes.items() if v is not None})
