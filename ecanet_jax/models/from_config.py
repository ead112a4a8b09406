"""The network of a config, for the data that it is to see."""

import flax.linen as nn
import jax.numpy as jnp

from ecanet_jax.models import create_from_config
from ecanet_jax.models.convnet import REMAT
from ecanet_jax.ops import batch_norm, convolution, depthwise
from ecanet_jax.runtime.errors import UserError, lookup

DTYPE = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}


def make_model(config, num_classes: int) -> nn.Module:
  """The network of a config, for a data set with so many classes.

  Raises:
    UserError: the config's number of classes is another one, or one of its names is not known.
  """
  if config.model.num_classes != num_classes:
    raise UserError(
      f'model.num_classes={config.model.num_classes} and the data set {config.data.name!r} has '
      f'{num_classes} classes: set --config.model.num_classes={num_classes}.'
    )
  for op in (convolution, depthwise, batch_norm):
    key = op.__name__.rpartition('.')[2]
    lookup(dict.fromkeys(['auto', *op.IMPLEMENTATIONS]), config.ops[key], f'ops.{key}')
  lookup(REMAT, config.ops.remat, 'ops.remat')
  dtype = lookup(DTYPE, config.compute_dtype, 'compute_dtype')
  return create_from_config(
    config.model, conv_op=config.ops.convolution, depthwise=config.ops.depthwise,
    norm_op=config.ops.batch_norm, remat=config.ops.remat, dtype=dtype,
  )
