"""The same network in timm: which it is, and its logits where PyTorch and timm are there."""

import dataclasses
from collections.abc import Mapping

import flax.linen as nn
import numpy as np

from ecanet_jax.models import list_models, network
from ecanet_jax.models.record import Network

# Fields of a network that change neither its arrays nor its logits in evaluation, and the number of
# classes, which both sides have as an argument.
FREE_FIELDS = frozenset(
  ('num_classes', 'dropout', 'drop_path', 'bn_groups', 'bn_decay', 'frozen_stages', 'frozen_bn',
   'zero_init_last', 'backend', 'remat', 'dtype', 'parent', 'name')
)


class TwinMissing(Exception):
  """No twin can be made here; the text says why."""


def find_record(model: nn.Module) -> Network | None:
  """The registered network with the model's architecture, one that timm has if there are several.

  A network with overrides can be another registered one: efficientnet_b0 with ECA is
  eca_efficientnet_b0.
  """
  records = [network(name) for name in list_models()]
  same = [
    record for record in records
    if record.family is type(model) and _same(record.family(**record.arguments), model)
  ]
  return next((record for record in same if record.timm), same[0] if same else None)


def _same(a: nn.Module, b: nn.Module) -> bool:
  fields = {field.name for field in dataclasses.fields(type(a))} - FREE_FIELDS
  if a.attention.kind == b.attention.kind == 'none':  # whatever else is said of it
    fields -= {'attention'}
  return all(getattr(a, field) == getattr(b, field) for field in fields)


def twin_logits(
  model: nn.Module, record: Network, state_dict: Mapping[str, np.ndarray], images: np.ndarray
) -> tuple[np.ndarray, str]:
  """Logits of timm's network.

  Args:
    model: our network.
    record: its registered form, which timm has.
    state_dict: all of the twin's arrays in the record's dialect, counters included.
    images: `[B, H, W, 3]` float32.

  Returns:
    `[B, num_classes]` float32, and what computed them, with versions.

  Raises:
    TwinMissing: PyTorch or timm cannot be imported.
    RuntimeError: timm's network does not take the state dict; that is a fault of ours.
  """
  try:
    import timm
    import torch
  except Exception as error:  # torchvision built for another PyTorch raises RuntimeError
    line = ' '.join(str(error).split())[:100]
    raise TwinMissing(f'PyTorch with timm cannot be imported: {line}') from error
  twin = timm.create_model(
    record.timm, pretrained=False, num_classes=model.num_classes, **record.timm_arguments
  )
  twin.load_state_dict({key: _tensor(torch, value) for key, value in state_dict.items()})
  twin.eval()
  with torch.no_grad():
    logits = twin(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))).numpy()
  called = ', '.join([record.timm, *(f'{k}={v!r}' for k, v in record.timm_arguments.items())])
  return logits, f'timm {timm.__version__} {called} on PyTorch {torch.__version__}'


def _tensor(torch, array: np.ndarray):
  return torch.from_numpy(np.array(array))
