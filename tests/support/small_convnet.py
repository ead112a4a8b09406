"""A network of the library's layers that compiles in a moment."""

import flax.linen as nn
import jax.numpy as jnp

from ecanet_jax.nn.layers import PRESET, Layers


class SmallConvNet(nn.Module):
  """Two convolutions with BatchNorm, and a classifier of 10 classes."""

  bn_groups: int = 1
  dtype: jnp.dtype = jnp.float32
  dropout: float = 0.0

  @nn.compact
  def __call__(self, x, train):
    layer = Layers(PRESET['torch'], bn_groups=self.bn_groups, dtype=self.dtype)
    x = layer.conv_bn(x, 'stem', train, 8, 3, 2)
    x = layer.conv_bn(x, 'head', train, 16)
    x = nn.Dropout(self.dropout, deterministic=not train)(x.mean((1, 2)))
    return nn.Dense(10, name='classifier')(x.astype(jnp.float32))
