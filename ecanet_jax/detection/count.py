"""Parameters and FLOPs of a detector as ECA-Net's Table 4 counts them, by tracing.

The convention is that of mmdetection 1.0rc0, tools/get_flops.py and mmdet/utils/flops_counter.py,
for an image of 1280 x 800 pixels, 1000 proposals and 100 masks. A convolution has out_h * out_w *
(kh * kw * in / groups * out + out) operations with its bias, a transposed one likewise at its
output, a linear layer in * out without its bias, BatchNorm 2 per value, ReLU 1 per value, and
pooling 1 per value that it reads. What PyTorch calls as a function is free: the RPN's ReLU, P6,
up-sampling, RoIAlign, the sigmoid, and the products and sums of attention and residuals.
"""

import collections
import dataclasses
import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from ecanet_jax.detection.networks.detector import Detector
from ecanet_jax.detection.registry import create_detector
from ecanet_jax.nn import layers, pooling
from ecanet_jax.nn.attention.channel import ECA, ChannelAttention
from ecanet_jax.nn.parameter_shapes import flat_shapes

HEIGHT, WIDTH = 1280, 800  # pixels


@dataclasses.dataclass(frozen=True)
class DetectorCount:
  """Sizes of a detector.

  Attributes:
    parameters: by part ('backbone', 'fpn', ...).
    trained: the same without what training leaves unchanged, as the paper counts them.
    flops: by part, for one image.
  """

  parameters: dict[str, int]
  trained: dict[str, int]
  flops: dict[str, int]


def count_detector(model: Detector, height: int = HEIGHT, width: int = WIDTH) -> DetectorCount:
  """Counts a detector for images of these sides; nothing is computed."""
  flops = collections.Counter()

  def watch(call, args, kwargs, context):
    y = call(*args, **kwargs)
    module, path = context.module, context.module.path
    if path:
      flops[path[0]] += _operations(module, context.method_name, args, y)
    return y

  def init():
    images = jnp.zeros((1, height, width, model.in_chans))
    return model.init(jax.random.key(0), images, train=False)

  with nn.intercept_methods(watch):
    shapes = flat_shapes(jax.eval_shape(init))
  parameters, trained = collections.Counter(), collections.Counter()
  for path, shape in shapes.items():
    collection, *names = path.split('/')
    if collection == 'params':
      parameters[names[0]] += math.prod(shape)
      trained[names[0]] += 0 if model.is_frozen(names) else math.prod(shape)
  return DetectorCount(dict(parameters), dict(trained), dict(flops))


@functools.cache
def count_registered(name: str) -> DetectorCount:
  """The count of a registered detector."""
  return count_detector(create_detector(name))


def _operations(module: nn.Module, method: str, args: tuple, y) -> int:
  """Operations of one call of a layer; 0 for modules that consist of layers."""
  if isinstance(module, ChannelAttention):
    if method == 'excite' and isinstance(module, ECA):
      return module.variables['params']['kernel'].size * y.size
    return args[0].size if method == '__call__' else 0  # its pooling
  if method != '__call__':
    return 0
  if isinstance(module, (layers.Conv, nn.ConvTranspose)):
    arrays = module.variables['params']
    operations = sum(array.size for array in arrays.values())
    return operations * (y.size // y.shape[-1])
  if isinstance(module, nn.Dense):
    return module.variables['params']['kernel'].size * (y.size // y.shape[-1])
  if isinstance(module, layers.BatchNorm):
    return y.size * (3 if args[2] == 'relu' else 2)
  if isinstance(module, layers.Activation):
    return y.size
  return args[0].size if isinstance(module, pooling.Pool) else 0
