import flax.linen as nn
import jax
import numpy as np

from ecanet_jax.detection.networks.doubling import Doubling


def test_it_is_flaxs_transposed_convolution():
  """Values, and gradients by the input and by all parameters."""
  x = jax.random.normal(jax.random.key(0), (3, 5, 4, 6))
  ours, theirs = Doubling(7, (2, 2), (2, 2)), nn.ConvTranspose(7, (2, 2), (2, 2))
  variables = theirs.init(jax.random.key(1), x)
  variables = jax.tree.map(lambda array: array + 0.1, variables)
  weights = jax.random.normal(jax.random.key(2), (3, 10, 8, 7))

  def of(module):
    return jax.value_and_grad(
      lambda variables, x: (module.apply(variables, x) * weights).sum(), (0, 1))(variables, x)

  shapes = jax.tree.map(np.shape, ours.init(jax.random.key(1), x))
  assert shapes == jax.tree.map(np.shape, variables)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), of(ours), of(theirs))
