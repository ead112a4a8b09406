"""The stem's convolution: values and gradients are those of autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax.ops.convolution import plain_conv, stem_conv


@pytest.mark.parametrize(('k', 'stride', 'size', 'padding'), [
  (3, 2, (8, 8), ((0, 1), (0, 1))),
  (3, 2, (9, 7), ((1, 1), (1, 1))),
  (3, 1, (5, 6), ((1, 1), (1, 1))),
  (2, 3, (7, 8), ((0, 0), (2, 1))),
])
def test_value_and_gradients_in_float64(k, stride, size, padding):
  with jax.enable_x64(True):
    random = np.random.default_rng(0)
    x = jnp.asarray(random.standard_normal((2, *size, 3)))
    kernel = jnp.asarray(random.standard_normal((k, k, 3, 5)))
    results = []
    for function in (stem_conv, plain_conv):
      y, pull = jax.vjp(lambda *a, f=function: f(*a, stride, padding), x, kernel)
      results.append((y, *pull(jnp.cos(jnp.arange(y.size).reshape(y.shape)))))
    for mine, reference in zip(*results):
      assert mine.shape == reference.shape and mine.dtype == reference.dtype
      np.testing.assert_allclose(mine, reference, rtol=1e-12, atol=1e-12)
