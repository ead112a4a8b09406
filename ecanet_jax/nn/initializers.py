"""Initial values of parameters by the published rules, drawn on the host with NumPy."""

import contextlib
import contextvars
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Tree = Any


@dataclasses.dataclass(frozen=True)
class _Draw:
  """A deferred parameter: its placeholder, its random key, and the function that draws it."""

  stand_in: jax.Array
  words: jax.Array
  draw: Callable[[np.ndarray], np.ndarray]


# Deferred parameters of the `initial_values` that is being traced.
_LATER: contextvars.ContextVar[list[_Draw] | None] = contextvars.ContextVar('later', default=None)


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
    if (later := _LATER.get()) is not None:
      later.append(_Draw(jnp.zeros(shape, dtype), key, host))
      return later[-1].stand_in
    return jax.pure_callback(host, jax.ShapeDtypeStruct(shape, dtype), key)

  return initialise


def initial_values(init: Callable[[], Tree]) -> Tree:
  """Initial variables of a network: `jax.jit(init)()`, without host callbacks.

  JAX's compilation cache refuses programs with host callbacks, so every start would compile, and
  some TPU runtimes have no callbacks. Here the compiled program returns the random keys; the
  parameters are drawn from them afterwards.

  Args:
    init: returns a tree with the parameters as this module's initialisers give them. If one is
      changed, as by flax's lifted `scan`, the callbacks are compiled after all.

  Returns:
    The tree, with NumPy arrays.
  """
  draws, structure = {}, None

  def keys_and_the_rest():
    nonlocal structure
    with _put_off() as later:
      leaves, structure = jax.tree.flatten(init())
    known = {id(one.stand_in): one for one in later}
    draws.update({i: known[id(leaf)] for i, leaf in enumerate(leaves) if id(leaf) in known})
    if len(draws) < len(later):
      raise _ChangedError
    return [draws[i].words if i in draws else leaf for i, leaf in enumerate(leaves)]

  # The program runs once, so quick compilation matters more than fast code.
  quick = {'xla_backend_optimization_level': 0} if jax.default_backend() == 'cpu' else None
  try:
    leaves = jax.device_get(jax.jit(keys_and_the_rest, compiler_options=quick)())
  except _ChangedError:
    return jax.device_get(jax.jit(init, compiler_options=quick)())
  for i, one in draws.items():
    leaves[i] = one.draw(leaves[i])
  return jax.tree.unflatten(structure, leaves)


class _ChangedError(Exception):
  """A deferred parameter was changed before it reached the tree."""


@contextlib.contextmanager
def _put_off() -> Iterator[list[_Draw]]:
  """Makes initialisers return placeholders; yields the list of deferred parameters."""
  token = _LATER.set([])
  try:
    yield _LATER.get()
  finally:
    _LATER.reset(token)


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
def dense_uniform_of_outputs(generator, shape):
  """timm's classifier initialiser of EfficientNet and MobileNetV2: uniform in +-1 / sqrt(out).

  timm/models/_efficientnet_builder.py, `_init_weight_goog`. From 1000 classes on it is
  `dense_uniform`.
  """
  return generator.uniform(-1, 1, shape) * shape[-1] ** -0.5


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


def normal(deviation: float):
  """Normal with this standard deviation."""
  return _drawn_on_host(lambda generator, shape: generator.standard_normal(shape) * deviation)


@_drawn_on_host
def xavier_uniform(generator, shape):
  """Uniform in +-sqrt(6 / (fan in + fan out)), of `[in, out]` or `[kh, kw, in, out]`.

  Glorot and Bengio, Understanding the difficulty of training deep feedforward networks (2010).
  """
  fans = math.prod(shape[:-2]) * (shape[-2] + shape[-1])
  return generator.uniform(-1, 1, shape) * (6.0 / fans) ** 0.5
