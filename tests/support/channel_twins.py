"""Channel attention in PyTorch, written from the equations of ECA-Net and its Table 1."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F

from tests.support.attention_twins import make, quick, shapes

ACTIVATION = {
  'relu': F.relu, 'swish': F.silu, 'relu6': F.relu6, 'hard_swish': F.hardswish,
}
GATE = {
  'sigmoid': torch.sigmoid, 'hard_sigmoid': F.hardsigmoid, 'tanh': torch.tanh, 'relu': F.relu,
}


# Excitations: parameters and y [N, C] -> logits [N, C].


def eca(params, y):  # Eq. 6
  kernel = params['kernel']
  return F.conv1d(y[:, None], kernel[None, None], padding=len(kernel) // 2)[:, 0]


def eca_circular(params, y):
  kernel = params['kernel']
  around = F.pad(y[:, None], (len(kernel) // 2,) * 2, mode='circular')
  return F.conv1d(around, kernel[None, None])[:, 0]


def eca_ns(params, y):  # Eq. 4: w_i = sum over j of alpha_i^j y_i^j
  k = len(params['kernel'])
  neighbours = F.pad(y, (k // 2, k // 2)).unfold(1, k, 1)  # [N, C, k]
  return (neighbours * params['kernel'].T[None]).sum(-1)


def se(params, y, activation='relu'):  # Eq. 2
  affine = lambda name, y: F.linear(y, params[name]['kernel'].T, params[name].get('bias'))
  return affine('expand', ACTIVATION[activation](affine('reduce', y)))


def se_gc(params, y):  # Eq. 3
  groups, width, _ = params['kernel'].shape
  kernel = params['kernel'].permute(0, 2, 1).reshape(groups * width, width, 1)
  return F.conv1d(y[..., None], kernel, groups=groups)[..., 0]


EXCITE = {
  'eca': eca,
  'eca_circular': eca_circular,
  'eca_ns': eca_ns,
  'se': se,
  'se_var1': lambda params, y: y,
  'se_var2': lambda params, y: params['kernel'][0] * y,
  'se_var3': lambda params, y: y @ params['mix']['kernel'],
  'se_gc1': se_gc,
  'se_gc2': se_gc,
  'se_gc3': se_gc,
}


def channel_twin(excite, squeeze='mean', gate='sigmoid'):
  """x * gate(excite(squeeze(x))), Eq. 1."""

  def twin(params, stats, x):
    mean, largest = x.mean((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)
    squeezed = {
      'mean': mean, 'max': largest, 'both': torch.cat([mean, largest], 1), 'none': x
    }[squeeze]
    logits = excite(params, squeezed.reshape(-1, x.shape[-1])).reshape(squeezed.shape)
    if squeeze == 'both':
      logits = logits[:, :1] + logits[:, 1:]
    weights = GATE[gate](logits)
    return x * weights, {'squeeze': squeezed, 'weights': weights}

  return twin


def parameters(kind, channels, options=(), size=1, **facts):
  """The number of parameters of an attention module."""
  x = np.zeros((1, size, size, facts.get('in_channels', channels)), np.float32)
  tree = shapes(make(kind, channels, options, **facts), x).get('params', {})
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def deviation(kind, options=(), channels=512, **facts):
  """{parameter: its deviation when initialised}."""
  module = make(kind, channels, {'bias': True, **dict(options)}, **facts)
  x = jnp.zeros((1, 4, 4, channels))
  params = quick(lambda key: module.init(key, x, False))(jax.random.key(0))['params']
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): float(np.sqrt(np.square(a).mean()))
    for path, a in jax.tree_util.tree_leaves_with_path(params)
  }
