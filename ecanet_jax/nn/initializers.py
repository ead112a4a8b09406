"""Initial values of parameters by the published rules, drawn on the host with NumPy."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.interpreters import mlir, partial_eval

Tree = Any

# Draws an array from a key's words: in Python, or under jit by a callback to Python.
_draw = core.Primitive('draw')
_draw.def_impl(lambda words, *, host, shape, dtype: jnp.asarray(host(words)))
_draw.def_abstract_eval(lambda words, *, host, shape, dtype: jax.core.ShapedArray(shape, dtype))
mlir.register_lowering(_draw, mlir.lower_fun(
  lambda words, *, host, shape, dtype: jax.pure_callback(
    host, jax.ShapeDtypeStruct(shape, dtype), words
  ),
  multiple_results=False,
))


def _drawn_on_host(draw: Callable[[np.random.Generator, tuple], np.ndarray]):
  """An initialiser `(key, shape, dtype)` that draws with NumPy.

  Parameters are the same on every backend. No random generator is compiled for each parameter,
  which takes minutes on a CPU.
  """

  def initialise(key, shape, dtype=jnp.float32):
    def host(words):
      generator = np.random.Generator(np.random.Philox(np.asarray(words).tolist()))
      return draw(generator, shape).astype(dtype)

    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
      key = jax.random.key_data(key)
    return _draw.bind(key, host=host, shape=tuple(shape), dtype=np.dtype(dtype))

  return initialise


def initial_values(init: Callable[[], Tree]) -> Tree:
  """Initial variables of a network: `jax.jit(init)()`, without host callbacks.

  JAX's compilation cache refuses programs with host callbacks, so every start would compile, and
  some TPU runtimes have no callbacks. Here init is traced, and the operations that its result needs
  run one by one.

  Args:
    init: returns a tree of arrays.

  Returns:
    The tree, with NumPy arrays.
  """
  traced, shapes = jax.make_jaxpr(init, return_shape=True)()
  leaves, structure = jax.tree.flatten(shapes)
  needed, _ = partial_eval.dce_jaxpr(traced.jaxpr, [True] * len(leaves))
  values = core.jaxpr_as_fun(core.ClosedJaxpr(needed, traced.consts))()
  return jax.tree.unflatten(structure, jax.device_get(values))


@_drawn_on_host
def fan_out_normal(generator, shape):
  """TF EfficientNet's convolution initialiser: normal, variance 2 / (kh * kw * out).

  For `[kh, kw, in, out]`, `[in, out]` of a 1x1, or `[kh, kw, C]` of a depthwise convolution, whose
  `out` is 1 (tensorflow/tpu, efficientnet_model.py, conv_kernel_initializer).
  """
  fan_out = {2: shape[-1], 3: shape[0] * shape[1]}.get(len(shape), math.prod(shape) / shape[-2])
  return generator.standard_normal(shape) * (2.0 / fan_out) ** 0.5


@_drawn_on_host
def depthwise_normal(generator, shape):
  """PyTorch's kaiming_normal_(mode='fan_out') of a depthwise `[kh, kw, C]`: 2 / (kh * kw * C).

  Unlike TensorFlow's rule, it counts the channels of all groups.
  """
  return generator.standard_normal(shape) * (2.0 / math.prod(shape)) ** 0.5


@_drawn_on_host
def dense_uniform(generator, shape):
  """TF EfficientNet's classifier initialiser: uniform in +-1 / sqrt(out), out at least 1000.

  The published rule is for 1000 classes. At 10 it would start with logits of several units and a
  loss of 7 instead of 2.3, from which training recovers slowly.
  """
  return generator.uniform(-1, 1, shape) * max(shape[-1], 1000) ** -0.5


@_drawn_on_host
def dense_normal(generator, shape):
  """MobileNetV2's and VGG's classifier initialiser in torchvision: normal, deviation 0.01."""
  return generator.standard_normal(shape) * 0.01


@_drawn_on_host
def fan_in_uniform(generator, shape):
  """PyTorch's rule for linear and 1-D convolution layers: uniform in +-1 / sqrt(fan in).

  For ResNet's classifier `[in, out]`, ECA's kernel `[k]` and ECA-NS's `[k, C]`.
  """
  return generator.uniform(-1, 1, shape) * shape[0] ** -0.5


def bias_uniform(fan_in: int):
  """PyTorch's rule for the bias of a layer with `fan_in` inputs: uniform in +-1 / sqrt(fan in)."""
  return _drawn_on_host(
    lambda generator, shape: generator.uniform(-1, 1, shape) * fan_in**-0.5
  )


@_drawn_on_host
def fan_in_normal(generator, shape):
  """Normal with variance 1 / (length of the first axis)."""
  return generator.standard_normal(shape) * shape[0] ** -0.5
