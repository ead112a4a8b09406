"""Parameters and operations of a network, counted while it is traced.

Nothing is allocated or computed: each layer's call is intercepted under `jax.eval_shape`. What a
document calls FLOPs is one of CONVENTIONS, a weighted sum of these counts for one image.
"""

import collections
import dataclasses
import math
from collections.abc import Mapping

import flax.linen as nn

from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.nn import layers, pooling
from ecanet_jax.nn.attention.channel import ECA, SE, ChannelAttention
from ecanet_jax.nn.attention.comparators import RowConv
from ecanet_jax.nn.parameter_shapes import flat_shapes, trace_variables

Quantities = Mapping[str, float]

_CONVOLUTIONS = (layers.Conv, RowConv)

# Multiply-adds of convolutions, attention's layers and products, and the classifier.
_MULTIPLY_ADDS = {'conv': 1, 'se_layers': 1, 'attention': 1, 'classifier': 1}

# thop of 2019: BatchNorm 4, ReLU 1, max-pool k * k per value, a linear layer 2n - 1 per output, an
# average pool one per value and one per output.
_THOP = {
  'conv': 1, 'attention': 1, 'se_layers': 2, 'batch_norm': 4, 'squeeze': 1, 'squeezed': 1,
  'classifier': 2, 'classes': -1,
}


@dataclasses.dataclass(frozen=True)
class Convention:
  """What a document counts as one operation.

  Attributes:
    text: description for readers.
    weights: factors of `Count.quantities`.
    constant: operations added to every network.
    parameters: parameters added to every network.
    within: only parameters whose path contains it are counted.
  """

  text: str
  weights: Quantities
  constant: float = 0
  parameters: int = 0
  within: str = ''


CONVENTIONS: dict[str, Convention] = {
  'multiply_adds': Convention(
    'multiply-adds of convolutions, attention layers and the classifier', _MULTIPLY_ADDS
  ),
  'attention': Convention(
    'what the attention adds: the parameters and multiply-adds of its own layers',
    {'se_layers': 1, 'attention': 1}, within='/attention/',
  ),
  'adds_and_scale': Convention(
    "multiply-adds, residual additions and attention's reweighting (SENet, ResNets)",
    {**_MULTIPLY_ADDS, 'add': 1, 'scale': 1},
  ),
  'squeeze_and_scale': Convention(
    "multiply-adds, attention's pooling and reweighting (SENet, VGG and Inception)",
    {**_MULTIPLY_ADDS, 'squeeze': 1, 'scale': 1},
  ),
  'thop': Convention(
    'thop of 2019, as the ECA-Net authors ran it on MobileNetV2', {**_THOP, 'activation': 1}
  ),
  'thop_shared_relu': Convention(
    "the same on ResNets, where thop sees a block's one ReLU only once",
    {**_THOP, 'last_activation': 1, 'max_pool': 1, 'pool': 1, 'pooled': 1},
  ),
  'tf_profiler': Convention(
    'half of the float operations of the TensorFlow profiler: BatchNorm and residuals are free',
    {**_MULTIPLY_ADDS, 'pool': 0.5, 'bias': 0.5, 'squeeze': 0.5, 'scale': 0.5, 'swish': 0.5},
  ),
}

# All rows of the compact slides are 0.321 million parameters and 0.36 million operations above the
# plain count: a second classifier of 1000 classes on the 320 channels of stage 8 would explain it.
CONVENTIONS['tf_profiler_aux'] = dataclasses.replace(
  CONVENTIONS['tf_profiler'],
  text=CONVENTIONS['tf_profiler'].text + '; with a second classifier on the last stage',
  constant=(2 * 320 * 1000 + 1000 + 320 * 49) / 2,
  parameters=320 * 1000 + 1000,
)


@dataclasses.dataclass(frozen=True)
class Count:
  """Sizes of a network, and its operations for one image.

  Attributes:
    shapes: of every array by path, such as 'params/stem/kernel'.
    quantities: by top-level module: multiply-adds ('conv', 'se_layers', 'attention', 'classifier'),
      for other layers the number of values that they process, and the number of convolutions.
  """

  shapes: dict[str, tuple[int, ...]]
  quantities: dict[str, Quantities]

  def parameters(self, module: str = '', convention: str = 'multiply_adds') -> int:
    """Number of parameters of the network, or of one of its top-level modules."""
    rule = CONVENTIONS[convention]
    prefix = f'params/{module}/' if module else 'params/'
    return self._values(prefix, rule.within) + (0 if module else rule.parameters)

  def statistics(self) -> int:
    """Number of BatchNorm's running values."""
    return self._values('batch_stats/')

  def _values(self, prefix: str, within: str = '') -> int:
    return sum(
      math.prod(shape) for path, shape in self.shapes.items()
      if path.startswith(prefix) and within in path
    )

  def operations(self, module: str = '', convention: str = 'multiply_adds') -> float:
    """Operations of the network, or of one of its top-level modules without the constant."""
    rule = CONVENTIONS[convention]
    total = sum(
      rule.weights.get(key, 0) * n for part in self._parts(module) for key, n in part.items()
    )
    return total + (0 if module else rule.constant)

  def activations(self, module: str = '') -> int:
    """Number of output values of the convolutions (Radosavovic et al., RegNet, section 2)."""
    return sum(int(part.get('output', 0)) for part in self._parts(module))

  def layers(self, kind: str = 'convolutions') -> int:
    """Number of layers: 'convolutions', or ECA's 'channel_convolutions'."""
    return sum(int(part.get(kind, 0)) for part in self.quantities.values())

  def _parts(self, module: str) -> list[Quantities]:
    return [self.quantities.get(module, {})] if module else list(self.quantities.values())


def count(model: ConvNet, image_size: int) -> Count:
  """Counts a network at `image_size` x `image_size` pixels."""
  adds = {block.name for block in model.blocks() if block.adds}
  quantities = collections.defaultdict(collections.Counter)
  reweighted = {}

  def watch(call, args, kwargs, context):
    y = call(*args, **kwargs)
    module, path = context.module, context.module.path
    if not path:
      return y
    seen = quantities[path[0]]
    in_attention = 'attention' in path
    if context.method_name == 'excite':
      kernel = _parameters(module).get('kernel')
      if kernel is not None:  # other kinds have layers, which are counted as such
        shared = isinstance(module, ECA)
        seen['attention'] += kernel.size * (y.size if shared else y.size // y.shape[-1])
        seen['channel_convolutions'] += shared
      return y
    if context.method_name != '__call__':
      return y
    seen['convolutions'] += isinstance(module, layers.Conv)
    if isinstance(module, _CONVOLUTIONS):
      parameters = _parameters(module)
      products = parameters['kernel'].size * (y.size // y.shape[-1])
      seen[_where(module, in_attention)] += products
      seen['bias'] += y.size if 'bias' in parameters else 0
      seen['output'] += y.size
    elif isinstance(module, nn.Dense):
      seen['classifier'] += _parameters(module)['kernel'].size
      seen['classes'] += y.size
      seen['bias'] += y.size
    elif isinstance(module, layers.Product):
      seen['attention'] += _einsum_products(module.equation, *args)
    elif isinstance(module, layers.BatchNorm):
      seen['batch_norm'] += 0 if in_attention else y.size
      _count_activation(seen, args[2], y.size, in_attention)
    elif isinstance(module, layers.Activation):
      _count_activation(seen, module.kind, y.size, in_attention)
    elif isinstance(module, pooling.Pool):
      seen[f'{module.kind}_pool'] += module.kernel_size**2 * y.size
    elif isinstance(module, pooling.GlobalPool):
      seen['pool'] += args[0].size
      seen['pooled'] += y.size
    elif isinstance(module, ChannelAttention):
      reweighted[path] = args[0]
    elif len(path) == 1 and path[0] in adds:
      seen['add'] += y.size
    return y

  with nn.intercept_methods(watch):
    shapes = flat_shapes(trace_variables(model, image_size))
  for path, x in reweighted.items():
    seen = quantities[path[0]]
    seen['squeeze'] += x.size
    seen['squeezed'] += x.shape[-1]
    seen['scale'] += x.size
  return Count(shapes, {name: dict(seen) for name, seen in quantities.items()})


def _parameters(module: nn.Module) -> Mapping:
  return module.variables.get('params', {})


def _count_activation(seen, kind: str, size: int, in_attention: bool) -> None:
  seen['swish'] += size if kind == 'swish' else 0
  if kind and not in_attention:
    seen['activation'] += size
    seen['last_activation'] = size


def _where(module: nn.Module, in_attention: bool) -> str:
  if not in_attention:
    return 'conv'
  # The paper's FLOPs count CBAM's two layers as convolutions, SE's as linear layers.
  return 'se_layers' if type(module.parent) is SE else 'attention'


def _einsum_products(equation: str, *arrays) -> int:
  sizes = {}
  for letters, array in zip(equation.split('->')[0].split(','), arrays, strict=True):
    sizes.update(zip(letters, array.shape, strict=True))
  return math.prod(sizes.values())

