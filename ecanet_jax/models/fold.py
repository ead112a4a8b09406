"""BatchNorm folded into the convolutions before it, for inference.

With running statistics a BatchNorm is y = x * a + b for each channel, a = scale / sqrt(var + eps)
and b = bias - mean * a. Behind a convolution a goes into the kernel's last axis, its output
channels, and b into the convolution's bias, whatever the padding.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.nn.parameter_shapes import parameter_shapes
from ecanet_jax.runtime.key_difference import check_keys

SUFFIX = '_bn'  # of the name of a BatchNorm, after that of its convolution


def fold_batch_norm(
  model: ConvNet, variables: Mapping[str, Any]
) -> tuple[ConvNet, dict[str, Any]]:
  """Returns the same function without the BatchNorms that are directly behind a convolution.

  Which they are is the folded network's to say: what it has no parameters for is folded. All other
  BatchNorms (behind attention, or before a layer) stay as they are. Computed on the host in float64
  and rounded once, so that the logits differ by the rounding of one multiplication.

  Args:
    model: from `create_model`; a folded one comes back as it is.
    variables: {'params', 'batch_stats'}, arrays on the host or on devices.

  Returns:
    The network with `folded=True`, and its {'params', 'batch_stats'} as numpy arrays.

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
  # Names alone: some arrays of attention-augmented convolutions depend on the image size.
  check_keys(
    dict.fromkeys(expected), dict.fromkeys('/'.join(path) for path in flat),
    'the variables do not fit',
  )
  return model, {'params': folded['params'], 'batch_stats': folded.get('batch_stats', {})}
