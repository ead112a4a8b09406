"""Attention modules against twins written from the papers' equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from ecanet_jax.attention import ECA, SE, eca_kernel_size

RANDOM = np.random.RandomState(0)


def check(module, params, twin, x):
  """Forward, and gradients of a weighted sum, against PyTorch's."""
  weight = RANDOM.randn(*x.shape).astype(np.float32)
  total = lambda params, x: (module.apply({'params': params}, x) * weight).sum()
  ours = module.apply({'params': params}, x)
  ours_gradient = jax.grad(total, (0, 1))(params, x)
  tensors = jax.tree.map(lambda a: torch.tensor(a, requires_grad=True), params)
  image = torch.tensor(x, requires_grad=True)
  theirs = twin(tensors, image)
  (theirs * torch.tensor(weight)).sum().backward()
  np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(ours_gradient[1], image.grad, rtol=1e-4, atol=1e-5)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b.grad, rtol=1e-4, atol=1e-4),
    ours_gradient[0], tensors,
  )


@pytest.mark.parametrize('k', [1, 3, 5, 7])
def test_eca_is_equation_6(k):
  x = RANDOM.randn(2, 5, 4, 24).astype(np.float32)
  params = {'kernel': RANDOM.randn(k).astype(np.float32)}

  def twin(params, x):
    pooled = x.mean((1, 2))[:, None]  # [B, 1, C]
    y = torch.nn.functional.conv1d(pooled, params['kernel'][None, None], padding=k // 2)
    return x * torch.sigmoid(y)[:, 0, None, None]

  check(ECA(k), params, twin, x)


def test_se_is_two_biased_layers():
  x = RANDOM.randn(2, 5, 4, 24).astype(np.float32)
  layer = lambda i, o: {
    'kernel': RANDOM.randn(i, o).astype(np.float32), 'bias': RANDOM.randn(o).astype(np.float32)
  }
  params = {'reduce': layer(24, 6), 'expand': layer(6, 24)}

  def twin(params, x):
    y = x.mean((1, 2)) @ params['reduce']['kernel'] + params['reduce']['bias']
    y = torch.nn.functional.silu(y) @ params['expand']['kernel'] + params['expand']['bias']
    return x * torch.sigmoid(y)[:, None, None]

  check(SE(6, 'swish'), params, twin, x)


@pytest.mark.parametrize(('channels', 'k'), [
  (16, 3), (32, 3), (96, 3), (112, 3), (128, 5), (144, 5), (240, 5), (480, 5), (672, 5), (1152, 5),
  (1280, 5), (2048, 7),
])
def test_kernel_size_is_equation_9(channels, k):
  assert eca_kernel_size(channels) == k


def test_bfloat16_keeps_the_gate_in_float32():
  x = jnp.asarray(RANDOM.randn(2, 8, 8, 16), jnp.bfloat16)
  params = {'kernel': jnp.asarray([0.2, 0.5, -0.1])}
  y = ECA(3, jnp.bfloat16).apply({'params': params}, x)
  assert y.dtype == jnp.bfloat16
  exact = ECA(3).apply({'params': params}, x.astype(jnp.float32))
  np.testing.assert_allclose(y.astype(jnp.float32), exact, rtol=2e-2, atol=1e-2)
