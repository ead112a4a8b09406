"""Compares an attention module with a float64 PyTorch twin: outputs, gradients, statistics."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import traverse_util

from ecanet_jax.nn.attention import ATTENTION, Attention, Slot, kernel_size
from ecanet_jax.nn.block import Block
from ecanet_jax.nn.layers import PRESET, Layers

STAGES = 4


def make_block(channels, **facts):
  """A block all of whose widths are `channels`, where `facts` do not say otherwise."""
  facts = {
    'name': 'block', 'kind': 'block', 'module': nn.Module, 'kernel': 3, 'adds': True,
    'stage': 2, 'index': 0, 'last': False, 'has_skip': True, 'stride': 1,
    'in_channels': channels, 'mid_channels': channels, 'out_channels': channels,
    'planes': channels, 'base_channels': channels, **facts,
  }
  return Block(**facts)


def make_slot(spec, channels, position='end', **facts):
  """The slot at a position of such a block."""
  slot = Slot(make_block(channels, **facts), position)
  if ATTENTION[spec.kind].has_kernel_size:
    slot = dataclasses.replace(slot, k=kernel_size(spec, slot, STAGES))
  return slot


def make(kind, channels, options=(), dtype=jnp.float32, activation='relu', **facts):
  """A module of the kind with the attention's options and the block's facts."""
  spec = Attention(kind=kind, **dict(options))
  layers = Layers(PRESET['torch'], activation, dtype=dtype)
  return ATTENTION[kind](spec, make_slot(spec, channels, **facts), layers)


def shapes(module, x):
  """{'params': ..., 'batch_stats': ...} of a module as shapes."""
  return jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.asarray(x), False))


def random_variables(module, x, seed=0):
  """Every array random, so that values and gates stay of order 1."""
  random = np.random.default_rng(seed)
  variables = {}
  for path, leaf in traverse_util.flatten_dict(shapes(module, x)).items():
    size, name = leaf.shape, path[-1]
    if name == 'var':
      value = random.uniform(0.5, 2.0, size)
    elif name == 'scale':
      value = random.uniform(0.7, 1.4, size)
    elif name in ('bias', 'mean'):
      value = random.normal(0, 0.3, size)
    elif name.startswith('relative'):
      value = random.normal(0, 1, size)
    else:
      summed = np.prod(size[1:2] if len(size) == 3 else size[:-1])  # three: groups or rows first
      value = random.normal(0, summed**-0.5, size)
    variables[path] = value.astype(np.float32)
  return traverse_util.unflatten_dict(variables)


def quick(function):
  """Compiled soon rather than well."""
  return jax.jit(function, compiler_options={'xla_backend_optimization_level': 0})


def compare(module, twin, x, train=False, without_gradient=()):
  """Asserts that module and twin agree in outputs, gradients, statistics and what is shown.

  Args:
    module: of the attention.
    twin: takes parameters and statistics as float64 tensors and the image, gives its output and
      {name of a shown value: the same}; changes the statistics in place as PyTorch does.
    x: image `[B, H, W, C]`.
    train: training, but without dropout.
    without_gradient: parameters whose gradient is zero by the equations.
  """
  variables = random_variables(module, x)
  stats = variables.get('batch_stats', {})
  mutable = ['intermediates', *(['batch_stats'] if train else [])]
  like = jax.eval_shape(lambda: module.apply(variables, x, False))
  weight = np.random.default_rng(1).normal(size=like.shape).astype(np.float32)

  def total(params, x):
    y, changed = module.apply({'params': params, 'batch_stats': stats}, x, train, mutable=mutable)
    return (y * weight).sum(), (y, changed)

  params = variables.get('params', {})
  gradient = quick(jax.grad(total, (0, 1), has_aux=True))
  (by_params, by_x), (y, changed) = gradient(params, x)

  tensor = lambda a: torch.tensor(np.asarray(a), dtype=torch.float64)
  theirs = jax.tree.map(lambda a: tensor(a).requires_grad_(), params)
  their_stats = jax.tree.map(tensor, stats)
  image = tensor(x).requires_grad_()
  their_y, shown = twin(theirs, their_stats, image)
  (their_y * tensor(weight)).sum().backward()

  same(y, their_y)
  same(by_x, image.grad, 1e-4)
  ours = traverse_util.flatten_dict(by_params, sep='/')
  expected = traverse_util.flatten_dict(theirs, sep='/')
  assert ours.keys() == expected.keys()
  scale = max([float(t.grad.abs().max()) for t in expected.values()], default=0)
  for name, gradient in ours.items():
    largest = float(expected[name].grad.abs().max())
    assert (largest < 1e-9 * scale) == (name in without_gradient), (name, largest, scale)
    same(gradient, expected[name].grad, 1e-4, max(scale, 1) if name in without_gradient else None)
  if train:
    jax.tree.map(same, changed['batch_stats'], their_stats)
  intermediates = changed.get('intermediates', {})
  assert {name: len(values) for name, values in intermediates.items()} == dict.fromkeys(shown, 1)
  for name, value in shown.items():
    assert intermediates[name][0].dtype == jnp.float32
    same(intermediates[name][0], value)


def same(ours, theirs, rtol=1e-5, scale=None):
  """Equal to `rtol`; small values to as much of a tenth of the largest (or of `scale`)."""
  theirs = np.asarray(theirs.detach() if isinstance(theirs, torch.Tensor) else theirs)
  assert ours.shape == theirs.shape
  scale = np.abs(theirs).max() if scale is None else scale
  np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=0.1 * rtol * scale)


def batch_norm(params, stats, x, train, channel_axis=-1):
  """PyTorch's BatchNorm at `channel_axis` of a `[B, H, W, C]`-like x, in place in `stats`."""
  y = torch.nn.functional.batch_norm(
    x.movedim(channel_axis, 1), stats['mean'], stats['var'], params['scale'], params['bias'],
    training=train, momentum=0.1, eps=1e-5,
  )
  return y.movedim(1, channel_axis)
