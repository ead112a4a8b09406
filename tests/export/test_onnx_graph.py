"""JAX's operations as ONNX's: the same values from ONNX Runtime, and the operators they become."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ecanet_jax.export.forward import Forward
from ecanet_jax.export.onnx.file import Onnx
from ecanet_jax.export.options import ExportOptions
from ecanet_jax.ops.attention import channel_conv
from ecanet_jax.ops.convolution import conv, depthwise_conv
from ecanet_jax.ops.pooling import max_pool, mean_pool
from ecanet_jax.runtime.errors import UserError

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(3, 6, 6, 4)).astype(np.float32)


def normal(*shape):
  return RANDOM.normal(size=shape).astype(np.float32)


KERNEL, DEPTHWISE, BIAS, MATRIX, ROWS = (
  normal(3, 3, 4, 4), normal(3, 3, 4), normal(4), normal(4, 5), normal(5)
)
ONES = ((1, 1), (1, 1))


def flat(x):
  return x.reshape(x.shape[0], -1)


def softmax_of_pixels(x):
  y = jax.nn.softmax(x.reshape(x.shape[0], 36, 4), 1)
  return flat(jnp.einsum('bpc,bpd->bcd', y, y))


FUNCTIONS = {
  'convolution with bias and relu6': (
    lambda x: flat(conv(x, KERNEL, 2, ((0, 1), (0, 1)), bias=BIAS, activation='relu6')),
    {'Conv': 1, 'Clip': 1},
  ),
  'depthwise, grouped': (
    lambda x: flat(conv(depthwise_conv(x, DEPTHWISE, 1, ONES), KERNEL[:, :, :2], 1, ONES, 2)),
    {'Conv': 2},
  ),
  'a convolution that is read twice keeps its bias outside': (
    lambda x: flat((lambda y: y * (y + BIAS[None, None, None]))(conv(x, KERNEL, 1, ONES))),
    {'Conv': 1, 'Add': 1, 'Mul': 1},
  ),
  'classifier': (
    lambda x: x.mean((1, 2)) @ MATRIX + ROWS[None], {'GlobalAveragePool': 1, 'Gemm': 1},
  ),
  'gate': (
    lambda x: flat(x * jax.nn.sigmoid(x.mean((1, 2), keepdims=True))),
    {'GlobalAveragePool': 1, 'Sigmoid': 1, 'Mul': 1},
  ),
  'sum over the pixels': (lambda x: x.sum((1, 2)), {'ReduceSum': 1}),
  'maximum over the pixels': (lambda x: x.max((1, 2)), {'ReduceMax': 1}),
  'max pooling': (lambda x: flat(max_pool(x, 3, 2, ((1, 1), (1, 1)))), {'MaxPool': 1}),
  'mean pooling': (
    lambda x: flat(mean_pool(x, 2, 2, ((0, 0), (0, 0)))), {'AveragePool': 1},
  ),
  'shifted channels': (
    lambda x: flat(channel_conv(x.mean((1, 2), keepdims=True), ROWS[:3, None])), {'Slice': 3},
  ),
  'channels of a ring': (
    lambda x: flat(channel_conv(x.mean((1, 2), keepdims=True), ROWS[:3, None], 'wrap')), {},
  ),
  'concatenation': (
    lambda x: flat(jnp.concatenate([conv(x, KERNEL, 1, ONES), x], 3)), {'Concat': 1},
  ),
  'slices': (lambda x: flat(lax.slice_in_dim(x, 1, 5, 2, axis=2)), {'Slice': 1}),
  'axes': (lambda x: flat(x.transpose(0, 3, 2, 1)), {}),
  'softmax and products': (softmax_of_pixels, {'Einsum': 1, 'Exp': 1}),
  'hard swish and square roots': (
    lambda x: flat(lax.rsqrt(jnp.tanh(jax.nn.hard_swish(x)) + 2) - lax.sqrt(x * x)), {},
  ),
  'a value repeated over the pixels': (
    lambda x: flat(jnp.broadcast_to(x.mean((1, 2), keepdims=True), x.shape)), {'Expand': 1},
  ),
}


def forward(function, outputs=1):
  return Forward('test', function, 6, 4, outputs, None, False, {}, 'beside', 'portable', 0, 0)


@pytest.mark.parametrize('name', FUNCTIONS)
def test_values_and_operators(name, tmp_path):
  function, expected = FUNCTIONS[name]
  path, format_ = tmp_path / 'model.onnx', Onnx()
  format_.write(forward(function), path, ExportOptions())
  found = format_.operators(path)
  assert {key: found[key] for key in expected} == expected, found
  run = format_.load(path)
  ours = np.asarray(function(IMAGES))
  np.testing.assert_allclose(run(IMAGES), ours, rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(run(IMAGES[:1]), ours[:1], rtol=1e-5, atol=1e-5)


def test_an_operation_that_the_writer_does_not_know(tmp_path):
  with pytest.raises(UserError, match=r"onnx: the network has the operation 'cumsum', which the"):
    Onnx().write(forward(lambda x: flat(jnp.cumsum(x, 3))), tmp_path / 'x', ExportOptions())


def test_a_fixed_batch(tmp_path):
  path = tmp_path / 'model.onnx'
  Onnx().write(forward(FUNCTIONS['classifier'][0]), path, ExportOptions(batch=2))
  assert Onnx().load(path)(IMAGES[:2]).shape == (2, 5)
  with pytest.raises(Exception, match='Got: 3 Expected: 2'):
    Onnx().load(path)(IMAGES)
