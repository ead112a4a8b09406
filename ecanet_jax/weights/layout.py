"""Layouts of a layer's arrays in PyTorch and TensorFlow: transposes, by the kind of layer.

Ours on the left, PyTorch's on the right:

  conv       kernel `[kh, kw, I, O]`, bias `[O]`     weight `(O, I, kh, kw)`, bias `(O,)`
  flattened  kernel `[7, 7, I, O]`, bias `[O]`       weight `(O, I * 7 * 7)`, bias `(O,)`
  pointwise  kernel `[I, O]`, bias `[O]`             weight `(O, I, 1, 1)`, bias `(O,)`
  depthwise  kernel `[kh, kw, C]`                    weight `(C, 1, kh, kw)`
  dense      kernel `[I, O]`, bias `[O]`             weight `(O, I)`, bias `(O,)`
  eca        kernel `[k]`                            weight `(1, 1, k)`, not flipped
  rois       kernel `[7 * 7 * I, O]`, bias `[O]`     weight `(O, I * 7 * 7)`, bias `(O,)`
  transposed kernel `[kh, kw, I, O]`, bias `[O]`     weight `(I, O, kh, kw)`, flipped
  norm       scale, bias, mean, var, each `[C]`      weight, bias, running_mean, running_var

PyTorch's BatchNorm also counts batches (`num_batches_tracked`, an int64 scalar). Neither inference
nor our training needs the count: it is dropped on import and 0 on export.

In TF1 checkpoints and Keras files, kernels of `conv` and `dense` are the same as ours. Those of
`pointwise` are `[1, 1, I, O]`; those of `depthwise` are `[kh, kw, C, 1]` and are called
`depthwise_kernel`. BatchNorm has gamma, beta, moving_mean and moving_variance, and no counter.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from ecanet_jax.models.vgg import MAP

Change = Callable[[np.ndarray], np.ndarray]

COUNTER = 'num_batches_tracked'


@dataclasses.dataclass(frozen=True)
class Leaf:
  """One array of a layer.

  Attributes:
    collection: 'params' or 'batch_stats'.
    ours: the array's name in our tree.
    theirs: the array's name in the other code.
    to_theirs: our array -> theirs.
    to_ours: their array -> ours.
  """

  collection: str
  ours: str
  theirs: str
  to_theirs: Change
  to_ours: Change

  def their_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns their shape of an array that has this shape in ours; computes nothing."""
    return self.to_theirs(np.broadcast_to(np.float32(0), shape)).shape


Kinds = Mapping[str, tuple[Leaf, ...]]


def _same(a: np.ndarray) -> np.ndarray:
  return a


def _kernel(to_theirs: Change, to_ours: Change, theirs: str = 'weight') -> Leaf:
  return Leaf('params', 'kernel', theirs, to_theirs, to_ours)


_BIAS = Leaf('params', 'bias', 'bias', _same, _same)

# Number of axes of each kind's kernel, and the kind that a number of axes means by default.
AXES = {
  'eca': 1, 'pointwise': 2, 'dense': 2, 'depthwise': 3, 'conv': 4, 'flattened': 4, 'rois': 2,
  'transposed': 4, 'classes_last': 2, 'boxes_last': 2, 'masks_last': 2,
}
BY_AXES = {2: 'pointwise', 3: 'depthwise', 4: 'conv'}


def _last_layer(to_theirs: Change, to_ours: Change, window: tuple[int, ...] = ()) -> tuple:
  """A layer whose outputs, the first axis of their arrays, are in another order."""
  return (
    _kernel(lambda a: to_theirs(a.T).reshape(-1, len(a), *window),
            lambda a: to_ours(a.reshape(a.shape[:2])).T),
    Leaf('params', 'bias', 'bias', to_theirs, to_ours),
  )


def _with_zeros(a: np.ndarray, rows: int) -> np.ndarray:
  return np.concatenate([np.zeros((rows, *a.shape[1:]), a.dtype), a])


KINDS: Kinds = {
  'conv': (_kernel(lambda a: a.transpose(3, 2, 0, 1), lambda a: a.transpose(2, 3, 1, 0)), _BIAS),
  'pointwise': (_kernel(lambda a: a.T[:, :, None, None], lambda a: a[:, :, 0, 0].T), _BIAS),
  'depthwise': (
    _kernel(lambda a: a.transpose(2, 0, 1)[:, None], lambda a: a[:, 0].transpose(1, 2, 0)),
  ),
  'dense': (_kernel(lambda a: a.T, lambda a: a.T), _BIAS),
  # A convolution over the whole map, which PyTorch has as a linear layer on the flattened map. The
  # map is flattened channel by channel.
  'flattened': (
    _kernel(
      lambda a: a.transpose(3, 2, 0, 1).reshape(a.shape[3], -1),
      lambda a: a.reshape(len(a), -1, MAP, MAP).transpose(2, 3, 1, 0),
    ),
    _BIAS,
  ),
  'eca': (_kernel(lambda a: a[None, None], lambda a: a[0, 0]),),
  # A linear layer on RoIs' features, which are flattened position by position here and channel by
  # channel in PyTorch.
  'rois': (
    _kernel(
      lambda a: a.reshape(MAP, MAP, -1, a.shape[1]).transpose(3, 2, 0, 1).reshape(a.shape[1], -1),
      lambda a: a.reshape(len(a), -1, MAP, MAP).transpose(2, 3, 1, 0).reshape(-1, len(a)),
    ),
    _BIAS,
  ),
  'transposed': (
    _kernel(lambda a: a[::-1, ::-1].transpose(2, 3, 0, 1),
            lambda a: a.transpose(2, 3, 0, 1)[::-1, ::-1]),
    _BIAS,
  ),
  # The last layers of a detector whose background is the last class, or which has no outputs for
  # the background. Ours has the background first.
  'classes_last': _last_layer(lambda a: np.roll(a, -1, 0), lambda a: np.roll(a, 1, 0)),
  'boxes_last': _last_layer(lambda a: a[4:], lambda a: _with_zeros(a, 4)),
  'masks_last': _last_layer(lambda a: a[1:], lambda a: _with_zeros(a, 1), (1, 1)),
  'norm': (
    Leaf('params', 'scale', 'weight', _same, _same),
    _BIAS,
    Leaf('batch_stats', 'mean', 'running_mean', _same, _same),
    Leaf('batch_stats', 'var', 'running_var', _same, _same),
  ),
}

TENSORFLOW: Kinds = {
  'conv': (_kernel(_same, _same, 'kernel'), _BIAS),
  'pointwise': (_kernel(lambda a: a[None, None], lambda a: a[0, 0], 'kernel'), _BIAS),
  'depthwise': (_kernel(lambda a: a[..., None], lambda a: a[..., 0], 'depthwise_kernel'),),
  'dense': (_kernel(_same, _same, 'kernel'), _BIAS),
  'norm': (
    Leaf('params', 'scale', 'gamma', _same, _same),
    Leaf('params', 'bias', 'beta', _same, _same),
    Leaf('batch_stats', 'mean', 'moving_mean', _same, _same),
    Leaf('batch_stats', 'var', 'moving_variance', _same, _same),
  ),
}


def kind_of(shapes: Mapping[str, tuple[int, ...]], given: str = '') -> str:
  """Returns the kind of a layer from its arrays, or '' if the layer has no arrays.

  Args:
    shapes: of its arrays, by name.
    given: the kind in the dialect's table; '' = the kernel's number of axes decides.
  """
  if 'scale' in shapes:
    return 'norm'
  axes = len(shapes.get('kernel', ()))
  if given:
    return given if AXES[given] == axes else ''
  return BY_AXES.get(axes, '')
