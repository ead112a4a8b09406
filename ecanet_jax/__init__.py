"""Small convnets with channel attention in JAX: networks, training, conversion to PyTorch."""

import os
from typing import Any

from ecanet_jax import models
from ecanet_jax.models import list_models
from ecanet_jax.version import __version__

__all__ = ['__version__', 'create_model', 'list_models', 'load_pretrained']


def create_model(name: str, *, pretrained: str | os.PathLike | None = None, **overrides: Any):
  """Makes a registered network, with weights if a directory of them is given.

  Args:
    name: one of `list_models()`.
    pretrained: a timm folder, whoever wrote it, also as 'hf-hub:OWNER/NAME'; the workdir of a
      training; or converted weights.
    **overrides: fields of the network, as in `models.create_model`. With another `num_classes` than
      the weights have, the classifier is initialised afresh.

  Returns:
    A flax module; with `pretrained` the module and {'params', 'batch_stats'}.

  Raises:
    UserError: an unknown name or field; weights that are damaged or of another network.
  """
  if pretrained is None:
    return models.create_model(name, **overrides)
  return __getattr__('load_pretrained')(pretrained, name=name, **overrides)


def __getattr__(name: str):
  if name == 'load_pretrained':  # on demand: it imports the checkpoints' library
    from ecanet_jax.weights.source import load_pretrained

    return load_pretrained
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
