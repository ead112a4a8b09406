"""Small convnets with channel attention in JAX: networks, training, conversion to PyTorch."""

import importlib
import os
from typing import TYPE_CHECKING, Any

from ecanet_jax.version import __version__

if TYPE_CHECKING:
  import flax.linen as nn

__all__ = ['__version__', 'create_model', 'list_models', 'load', 'load_pretrained']


def create_model(
  name: str, *, pretrained: str | os.PathLike | None = None, **overrides: Any
) -> 'nn.Module | tuple[nn.Module, dict[str, Any]]':
  """Makes a registered network, with weights if a directory of them is given.

  Args:
    name: one of `list_models()`.
    pretrained: a timm folder, ours or timm's own, or 'hf-hub:OWNER/NAME'; the workdir of a
      training; converted weights; or a file, with `dialect` if its names are not timm's.
    **overrides: fields of the network, as in `models.create_model`. `num_classes=0` gives the
      pooled features instead of logits. If `num_classes` is not that of the weights, the classifier
      is new and untrained. With `in_chans` = 1 (grey) or above 3 the stem's first kernel is
      adapted as timm does.

  Returns:
    A Flax module; with `pretrained` the module and {'params', 'batch_stats'}.

  Raises:
    UserError: an unknown name or field; weights that are damaged or of another network.
  """
  from ecanet_jax import models

  if pretrained is None:
    return models.create_model(name, **overrides)
  return __getattr__('load_pretrained')(pretrained, name=name, **overrides)


# Imported on demand: a mistake on the command line is answered before JAX is imported.
_MODULE = {
  'list_models': 'ecanet_jax.models', 'load': 'ecanet_jax.inference.classifier',
  'load_pretrained': 'ecanet_jax.weights.loaded_weights',
}


def __getattr__(name: str):
  if name == 'models':
    return importlib.import_module('ecanet_jax.models')
  if name in _MODULE:
    return getattr(importlib.import_module(_MODULE[name]), name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
