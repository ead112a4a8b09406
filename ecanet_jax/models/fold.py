"""BatchNorm folded into the convolutions before it, for inference.

With running statistics BatchNorm is y = x * a + b per channel, with a = scale / sqrt(var + eps) and
b = bias - mean * a. Behind a convolution, a multiplies the kernel's output channels and b becomes
part of the bias, whatever the padding.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.nn.parameter_shapes import parameter_shapes
from ecanet_jax.runtime.key_difference import check_keys

SUFFIX = '_bn'  # the BatchNorm behind convolution NAME is NAME_bn


def fold_batch_norm(
  model: ConvNet, variables: Mapping[str, Any]
) -> tuple[ConvNet, dict[str, Any]]:
  """Returns the same function without the BatchNorms that stand directly behind a convolution.

  All other BatchNorms (behind attention, or before a layer) stay: the folded network has parameters
  for them. Computed in float64 on the host and rounded once.

  Args:
    model: from `create_model`; a folded network is returned unchanged.
    variables: {'params', 'batch_stats'}, on the host or on devices.

  Returns:
    The network with `folded=True`, and its {'params', 'batch_stats'} as NumPy arrays.

  Raises:
    UserError: variables of another network.
  """
  if model.folded:
    return model, dict(variables)
  eps = model.make_layers().preset.bn_eps
  model = model.clone(folded=True)
  expected = parameter_shapes(model)
  flat = traverse_util.flatten_dict(jax.device_get(dict(variables)))
  for norm in [path[1:-1] for path in flat if path[-1] == 'var' and '/'.join(path) not in expected]:
    conv = ('params', *norm[:-1], norm[-1].removesuffix(SUFFIX))
    if (*conv, 'kernel') not in flat:
      break  # variables of another network
    scale, bias = (flat.pop(('params', *norm, name)) for name in ('scale', 'bias'))
    mean, var = (flat.pop(('batch_stats', *norm, name)) for name in ('mean', 'var'))
    factor = scale / np.sqrt(var.astype(np.float64) + eps)
    kernel, own = flat[(*conv, 'kernel')], flat.get((*conv, 'bias'), 0.0)
    flat[(*conv, 'kernel')] = (kernel * factor).astype(kernel.dtype)
    flat[(*conv, 'bias')] = (bias + (own - mean) * factor).astype(kernel.dtype)
  folded = traverse_util.unflatten_dict(flat)
  # Names only: some arrays of attention-augmented convolutions depend on the image size.
  check_keys(
    dict.fromkeys(expected), dict.fromkeys('/'.join(path) for path in flat),
    'the variables do not fit',
  )
  return model, {'params': folded['params'], 'batch_stats': folded.get('batch_stats', {})}
