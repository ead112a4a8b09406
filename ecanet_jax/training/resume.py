"""Checks that a checkpoint has the network and optimizer of the training that resumes from it."""

import dataclasses
from typing import Any

from ecanet_jax.config.difference import as_text
from ecanet_jax.config.trees import differences
from ecanet_jax.models import create_from_config
from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights.timm_reference import FREE_FIELDS

# Fields of a network that do not change what given weights compute in evaluation.
FREE = FREE_FIELDS | {'folded'}


def check(where, old: dict[str, Any], new: dict[str, Any], model: ConvNet) -> None:
  """Refuses another network or optimizer, even one whose arrays have the same shapes.

  Args:
    where: the checkpoint, for the message.
    old: its config, plain.
    new: the config of this training, plain.
    model: the network of this training.

  Raises:
    UserError: with each value in the checkpoint and now.
  """
  changed = {}
  if differences(old['model'], new['model']):
    theirs = _network(old['model'])
    other = other_fields(theirs, model) if theirs else {}
    changed = {f'model.{key}': pair for key, pair in other.items()}
  names = old['optimizer']['name'], new['optimizer']['name']
  if names[0] != names[1]:
    changed['optimizer.name'] = names
  if changed:
    listed = '; '.join(f'{key} {as_text(a)} | {as_text(b)}' for key, (a, b) in changed.items())
    raise UserError(
      f'{where} does not fit this config (checkpoint | now): {listed}. Train with the '
      "checkpoint's config, or give another --workdir and start from its weights with "
      '--config.init.weights.'
    )


def other_fields(theirs: ConvNet, ours: ConvNet) -> dict[str, tuple]:
  """Fields that make networks with the same arrays compute different things, with both values."""
  fields = [field.name for field in dataclasses.fields(ours) if field.name not in FREE]
  values = {key: (getattr(theirs, key, None), getattr(ours, key)) for key in fields}
  return {key: pair for key, pair in values.items() if pair[0] != pair[1]}


def _network(section: dict[str, Any]) -> ConvNet | None:
  try:
    return create_from_config(section)
  except UserError:  # a network of another version; the shapes of the arrays decide
    return None
