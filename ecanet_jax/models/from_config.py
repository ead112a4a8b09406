"""The network of a config, for a data set and a mesh."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.sharding import Mesh

from ecanet_jax.models import create_from_config
from ecanet_jax.models.convnet import REMAT
from ecanet_jax.ops import BACKENDS, select_backend
from ecanet_jax.runtime.errors import UserError, lookup

DTYPE = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}


def make_model(config, num_classes: int, mesh: Mesh) -> nn.Module:
  """The network of a config, for a data set with `num_classes` classes and a mesh of devices.

  Raises:
    UserError: the config has another number of classes, or an unknown name.
  """
  return create_from_config(config.model, **how_it_computes(config, num_classes, mesh))


def how_it_computes(config, num_classes: int, mesh: Mesh) -> dict[str, Any]:
  """The backend, the type and what is kept for the gradient, as fields of a network.

  Raises:
    UserError: see `make_model`.
  """
  if config.model.num_classes != num_classes:
    raise UserError(
      f'model.num_classes={config.model.num_classes} and the data set {config.data.name!r} has '
      f'{num_classes} classes: set --config.model.num_classes={num_classes}.'
    )
  lookup({'auto': None, **BACKENDS}, config.ops.backend, 'ops.backend')
  lookup(REMAT, config.ops.remat, 'ops.remat')
  dtype = lookup(DTYPE, config.compute_dtype, 'compute_dtype')
  try:
    backend = select_backend(config.ops.backend, list(mesh.devices.flat))
  except ValueError as error:
    raise UserError(str(error)) from error
  return {'backend': backend, 'remat': config.ops.remat, 'dtype': dtype}
