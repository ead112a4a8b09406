"""A transposed convolution that doubles height and width."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class Doubling(nn.ConvTranspose):
  """flax's ConvTranspose for a kernel of 2 x 2 with stride 2, as a matrix product.

  No two cells of the input meet in an output, so each gives four of its own. XLA's transposed
  convolution takes far longer on a CPU: more than all the rest of a small detector's step.
  """

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[N, H, W, C]` to `[N, 2 H, 2 W, features]`."""
    count, rows, columns, channels = x.shape
    kernel = self.param('kernel', self.kernel_init, (2, 2, channels, self.features), jnp.float32)
    bias = self.param('bias', self.bias_init, (self.features,), jnp.float32)
    x, kernel, bias = (array.astype(self.dtype) for array in (x, kernel, bias))
    # flax's kernel is that of a convolution of the spread input, so its first cell comes last.
    y = jnp.einsum('nhwk,uvkc->nhuwvc', x, kernel[::-1, ::-1])
    return y.reshape(count, 2 * rows, 2 * columns, self.features) + bias[None, None, None]
