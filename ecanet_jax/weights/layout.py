"""How a layer's arrays lie in PyTorch: plain transposes both ways, by the kind of layer.

Ours on the left, PyTorch's on the right:

  conv       kernel `[kh, kw, I, O]`, bias `[O]`     weight `(O, I, kh, kw)`, bias `(O,)`
  pointwise  kernel `[I, O]`, bias `[O]`             weight `(O, I, 1, 1)`, bias `(O,)`
  depthwise  kernel `[kh, kw, C]`                    weight `(C, 1, kh, kw)`
  dense      kernel `[I, O]`, bias `[O]`             weight `(O, I)`, bias `(O,)`
  eca        kernel `[k]`                            weight `(1, 1, k)`, not flipped
  norm       scale, bias, mean, var, each `[C]`      weight, bias, running_mean, running_var

PyTorch's BatchNorm also counts batches (`num_batches_tracked`, int64, no shape). The count has no
use in inference and none in our training: it is dropped on import and 0 on export.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

Change = Callable[[np.ndarray], np.ndarray]

COUNTER = 'num_batches_tracked'


@dataclasses.dataclass(frozen=True)
class Leaf:
  """One array of a layer.

  Attributes:
    collection: 'params' or 'batch_stats'.
    ours: the array's name in our tree.
    torch: the array's name in PyTorch.
    to_torch: our array -> PyTorch's.
    from_torch: PyTorch's array -> ours.
  """

  collection: str
  ours: str
  torch: str
  to_torch: Change
  from_torch: Change

  def torch_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
    """PyTorch's shape of our array of this shape; touches no data."""
    return self.to_torch(np.broadcast_to(np.float32(0), shape)).shape


def _same(a: np.ndarray) -> np.ndarray:
  return a


def _kernel(to_torch: Change, from_torch: Change) -> Leaf:
  return Leaf('params', 'kernel', 'weight', to_torch, from_torch)


_BIAS = Leaf('params', 'bias', 'bias', _same, _same)

# How many axes the kernel of a kind has, and the kind by it where nothing else is said.
AXES = {'eca': 1, 'pointwise': 2, 'dense': 2, 'depthwise': 3, 'conv': 4}
BY_AXES = {2: 'pointwise', 3: 'depthwise', 4: 'conv'}

KINDS: dict[str, tuple[Leaf, ...]] = {
  'conv': (_kernel(lambda a: a.transpose(3, 2, 0, 1), lambda a: a.transpose(2, 3, 1, 0)), _BIAS),
  'pointwise': (_kernel(lambda a: a.T[:, :, None, None], lambda a: a[:, :, 0, 0].T), _BIAS),
  'depthwise': (
    _kernel(lambda a: a.transpose(2, 0, 1)[:, None], lambda a: a[:, 0].transpose(1, 2, 0)),
  ),
  'dense': (_kernel(lambda a: a.T, lambda a: a.T), _BIAS),
  'eca': (_kernel(lambda a: a[None, None], lambda a: a[0, 0]),),
  'norm': (
    Leaf('params', 'scale', 'weight', _same, _same),
    _BIAS,
    Leaf('batch_stats', 'mean', 'running_mean', _same, _same),
    Leaf('batch_stats', 'var', 'running_var', _same, _same),
  ),
}


def kind_of(shapes: Mapping[str, tuple[int, ...]], given: str = '') -> str:
  """The kind of a layer from the names and shapes of its arrays, '' if it has none of ours.

  Args:
    shapes: of its arrays, by name.
    given: the kind that a dialect's table says; '' where the arrays tell.
  """
  if 'scale' in shapes:
    return 'norm'
  axes = len(shapes.get('kernel', ()))
  if given:
    return given if AXES[given] == axes else ''
  return BY_AXES.get(axes, '')
