"""Finds the same network in timm and computes its logits, if PyTorch and timm are installed."""

from collections.abc import Mapping

import flax.linen as nn
import numpy as np

from ecanet_jax.models import list_models, network
from ecanet_jax.models.computation import other_fields
from ecanet_jax.models.record import Network
from ecanet_jax.runtime.errors import one_line
from ecanet_jax.weights.torchvision_shim import import_torchvision

# Further arguments on both sides.
BOTH = ('in_chans', 'global_pool')


class ReferenceMissing(Exception):
  """The network cannot be made in timm; the text says why."""


def find_record(model: nn.Module) -> Network | None:
  """Returns the registered network with the model's architecture, or None.

  A network with overrides can be another registered one: efficientnet_b0 with ECA is
  eca_efficientnet_b0. If there are several, one that timm has is returned.
  """
  records = [network(name) for name in list_models()]
  same = [
    record for record in records
    if record.family is type(model)
    and not other_fields(record.family(**record.arguments), model, BOTH)
  ]
  return next((record for record in same if record.timm), same[0] if same else None)


def timm_logits(
  model: nn.Module, record: Network, state_dict: Mapping[str, np.ndarray], images: np.ndarray
) -> tuple[np.ndarray, str]:
  """Computes the logits of timm's network.

  Args:
    model: our network.
    record: the registered network, with its name in timm.
    state_dict: all arrays of timm's network, BatchNorm's counters too, in the record's dialect.
    images: `[B, H, W, 3]` float32.

  Returns:
    The logits `[B, num_classes]`, float32, and the network's call in timm with versions.

  Raises:
    ReferenceMissing: PyTorch or timm cannot be imported.
    RuntimeError: timm's network does not accept the state dict, which is an error of this package.
  """
  try:
    import_torchvision()
    import timm
    import torch
  except Exception as error:  # a broken installation can raise anything
    raise ReferenceMissing(
      f'PyTorch with timm cannot be imported: {one_line(error, 100)}'
    ) from error
  reference = timm.create_model(
    record.timm, pretrained=False, num_classes=model.num_classes, in_chans=model.in_chans,
    global_pool=model.global_pool, **record.timm_arguments,
  )
  reference.load_state_dict({
    key: torch.from_numpy(np.array(value)) for key, value in state_dict.items()
  })
  reference.eval()
  with torch.no_grad():
    tensor = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    logits = reference(tensor).numpy()
  called = ', '.join([record.timm, *(f'{k}={v!r}' for k, v in record.timm_arguments.items())])
  return logits, f'timm {timm.__version__} {called} on PyTorch {torch.__version__}'
