"""Images smaller than the window: no output and no gradient, as XLA has it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax.ops import convolution as plain
from ecanet_jax.ops import pooling as plain_pooling
from ecanet_jax.ops.cpu import convolution, depthwise, pooling

KERNEL = np.ones((3, 3, 16, 16), np.float32)
NO_PADDING = ((0, 0), (0, 0))
OPERATIONS = {
  'conv': (
    lambda x, stride: convolution.conv(x, KERNEL, stride, NO_PADDING),
    lambda x, stride: plain.conv(x, KERNEL, stride, NO_PADDING),
  ),
  'depthwise': (
    lambda x, stride: depthwise.depthwise_conv(x, KERNEL[:, :, 0], stride, NO_PADDING),
    lambda x, stride: plain.depthwise_conv(x, KERNEL[:, :, 0], stride, NO_PADDING),
  ),
  'max_pool': (
    lambda x, stride: pooling.max_pool(x, 3, stride, NO_PADDING),
    lambda x, stride: plain_pooling.max_pool(x, 3, stride, NO_PADDING),
  ),
}


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('height', [0, 1, 2])
@pytest.mark.parametrize('operation', OPERATIONS)
def test_no_window_fits(operation, height, stride, load_kernels):
  load_kernels('float32')
  x = jnp.ones((2, height, 5, 16))
  mine, theirs = (
    jax.vjp(lambda x, form=form: form(x, stride), x) for form in OPERATIONS[operation]
  )
  assert mine[0].shape == theirs[0].shape == (2, 0, 3 if stride == 1 else 2, 16)
  gradients = [pull(jnp.ones_like(y))[0] for y, pull in (mine, theirs)]
  np.testing.assert_array_equal(*gradients, strict=True)
