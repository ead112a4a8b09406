"""JAX's operations as ONNX's, opset 17.

The table has what the networks of this package consist of after folding. Patterns that have an
operator of their own get it: a bias becomes part of its convolution or product, max and min with
constants a Clip, the mean over the pixels a GlobalAveragePool.
"""

import math
from collections.abc import Callable

import numpy as np

from ecanet_jax.export.onnx.graph import NCHW, Graph, Order, Value, plain
from ecanet_jax.export.onnx.steps import Array, Step
from ecanet_jax.runtime.errors import UserError

OPSET = 17


class Builder:
  """Translates steps; `values` has the ONNX value of each array."""

  def __init__(self):
    self.graph = Graph()
    self.values: dict[int, Value] = {}

  def run(self, images: Array, steps: list[Step], result: Array) -> str:
    """Translates a traced function; returns the name of its result.

    Raises:
      UserError: it has an operation that is not in OPERATORS.
    """
    self.values[id(images)] = Value('images', images.shape, plain(4))
    for step in steps:
      if step.primitive not in OPERATORS:
        raise UserError(
          f'onnx: the network has the operation {step.primitive!r}, which the writer does not '
          'know; write --format=stablehlo,saved_model instead.'
        )
      self.values[id(step.outputs[0])] = OPERATORS[step.primitive](self, step)
    return self.graph.name(self.read(result))

  def read(self, array: Array | np.ndarray, whole: bool = False) -> Value:
    """The value of an input; `whole`: nothing is left to be repeated."""
    if not isinstance(array, Array):
      return Value('', array.shape, plain(array.ndim), array)
    value = self.values[id(array)]
    if whole and value.shape != array.shape:
      fixed = lambda size: size if isinstance(size, int) else 1  # Expand keeps the batch
      sizes = np.array([fixed(array.shape[axis]) for axis in value.order], np.int64)
      return self.graph.add(
        'Expand', [value.name, self.graph.constant(sizes)], array.shape, value.order
      )
    return value


def _order_of(values: list[Value]) -> Order:
  """The common order of values with equal rank: that of the first that is stored as NCHW."""
  orders = [value.order for value in values if value.constant is None]
  rank = max(len(value.shape) for value in values)
  found = [order for order in orders if len(order) == rank]
  return next((order for order in found if order == NCHW), found[0] if found else plain(rank))


def _binary(operator: str) -> Callable:
  def translate(build: Builder, step: Step) -> Value:
    values, graph = [build.read(each) for each in step.inputs], build.graph
    uses, order = step.outputs[0].uses, _order_of(values)
    if (fused := FUSED.get(operator, lambda *_: None)(build, step, values)) is not None:
      return fused
    names = [graph.name(value, order if value.shape else None) for value in values]
    sizes = [value.shape for value in values if value.shape]
    shape = tuple(_wider(column) for column in zip(*sizes))
    return graph.add(operator, names, shape, order, uses)

  return translate


def _wider(sizes: tuple):
  """The size of an axis after repeating."""
  return next((size for size in sizes if not (isinstance(size, int) and size == 1)), 1)


def _with_constant(step: Step, values: list[Value]) -> tuple[Value, np.ndarray, bool] | None:
  """The run-time operand, the constant one, and whether the former is read only here."""
  for value, other, array in zip(values, values[::-1], step.inputs):
    if other.constant is not None and value.constant is None:
      return value, other.constant, array.uses == 1
  return None


def _add_bias(build: Builder, step: Step, values: list[Value]) -> Value | None:
  """The constant of an addition becomes the bias of the convolution or product before it."""
  found = _with_constant(step, values)
  if not (found and found[2]):
    return None
  value, constant, _ = found
  node = build.graph.maker(value)
  if node is None or node.output != value.name or len(node.inputs) > 2 or node.uses != 1:
    return None
  if node.operator not in ('Conv', 'Gemm') or constant.size != value.shape[-1]:
    return None
  node.inputs.append(build.graph.constant(constant.reshape(-1)))
  node.uses = step.outputs[0].uses
  return value


def _maximum(build: Builder, step: Step, values: list[Value]) -> Value | None:
  found = _with_constant(step, values)
  if found is None or found[1].size != 1 or float(found[1].reshape(())) != 0:
    return None
  value = found[0]
  return build.graph.add('Relu', [value.name], value.shape, value.order, step.outputs[0].uses)


def _minimum(build: Builder, step: Step, values: list[Value]) -> Value | None:
  """min(max(x, 0), 6) is one Clip."""
  found = _with_constant(step, values)
  if not (found and found[2]) or found[1].size != 1:
    return None
  node = build.graph.maker(found[0])
  if node is None or node.operator != 'Relu' or node.output != found[0].name:
    return None
  bounds = (np.zeros((), np.float32), found[1].reshape(()))
  node.operator, node.uses = 'Clip', step.outputs[0].uses
  node.inputs += [build.graph.constant(bound) for bound in bounds]
  return found[0]


def _divide(build: Builder, step: Step, values: list[Value]) -> Value | None:
  """The sum over the pixels divided by their number is a GlobalAveragePool."""
  found = _with_constant(step, values)
  if not (found and found[2]) or values[1].constant is None or found[1].size != 1:
    return None
  node = build.graph.maker(found[0])
  if node is None or node.pixels != float(found[1].reshape(())):
    return None
  node.operator, node.attributes, node.inputs = 'GlobalAveragePool', {}, node.inputs[:1]
  return found[0]


FUSED = {'Add': _add_bias, 'Max': _maximum, 'Min': _minimum, 'Div': _divide}


def _unary(operator: str) -> Callable:
  def translate(build: Builder, step: Step) -> Value:
    value = build.read(step.inputs[0])
    return build.graph.add(operator, [value.name], value.shape, value.order, step.outputs[0].uses)

  return translate


def _rsqrt(build: Builder, step: Step) -> Value:
  root = _unary('Sqrt')(build, step)
  return build.graph.add('Reciprocal', [root.name], root.shape, root.order, step.outputs[0].uses)


def _conv(build: Builder, step: Step) -> Value:
  params, (out,) = step.params, step.outputs
  x, kernel = (build.read(each, whole=True) for each in step.inputs)
  numbers = params['dimension_numbers']
  images, image_order, kernel_order = numbers.out_spec, numbers.lhs_spec, numbers.rhs_spec
  if images != NCHW or image_order != NCHW or set(params['lhs_dilation']) != {1}:
    raise UserError('onnx: the network has a transposed convolution; write --format=stablehlo.')
  before, after = zip(*params['padding'])
  return build.graph.add(
    'Conv', [build.graph.name(x, NCHW), build.graph.name(kernel, tuple(kernel_order))], out.shape,
    NCHW, out.uses, kernel_shape=[kernel.shape[axis] for axis in kernel_order[2:]],
    strides=list(params['window_strides']), pads=[*before, *after],
    dilations=list(params['rhs_dilation']), group=params['feature_group_count'],
  )


def _pool(operator: str) -> Callable:
  def translate(build: Builder, step: Step) -> Value:
    params, (out,), graph = step.params, step.outputs, build.graph
    x = build.read(step.inputs[0], whole=True)
    before, after = zip(*params['padding'][1:3])
    window = list(params['window_dimensions'][1:3])
    extra = {'count_include_pad': 1} if operator == 'AveragePool' else {}
    y = graph.add(
      operator, [graph.name(x, NCHW)], out.shape, NCHW, kernel_shape=window,
      strides=list(params['window_strides'][1:3]), pads=[*before, *after], **extra,
    )
    if operator == 'MaxPool':
      return y
    size = graph.constant(np.array(math.prod(window), np.float32))
    return graph.add('Mul', [y.name, size], out.shape, NCHW, out.uses)

  return translate


def _reduce(operator: str) -> Callable:
  def translate(build: Builder, step: Step) -> Value:
    axes, (out,), graph = step.params['axes'], step.outputs, build.graph
    x, pixels = build.read(step.inputs[0], whole=True), 0
    if operator == 'ReduceSum' and len(x.shape) == 4 and tuple(axes) == (1, 2):
      x, pixels = graph.arranged(x, NCHW), x.shape[1] * x.shape[2]
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    places = [x.order.index(axis) for axis in axes]
    if operator == 'ReduceSum':
      inputs = [x.name, graph.constant(np.array(places, np.int64))]
      y = graph.add(operator, inputs, kept, x.order, out.uses, keepdims=1, pixels=pixels)
    else:
      y = graph.add(operator, [x.name], kept, x.order, out.uses, axes=places, keepdims=1)
    return graph.reshaped(y, out.shape, out.uses)

  return translate


def _reshape(build: Builder, step: Step) -> Value:
  out = step.outputs[0]
  return build.graph.reshaped(build.read(step.inputs[0], whole=True), out.shape, out.uses)


def _broadcast(build: Builder, step: Step) -> Value:
  """Adds axes of 1. Repeating is left to the operators that read the value."""
  out, value = step.outputs[0], build.read(step.inputs[0])
  shape = [1] * len(out.shape)
  for axis, target in enumerate(step.params['broadcast_dimensions']):
    shape[target] = value.shape[axis]
  if tuple(shape) == value.shape:
    return value
  return build.graph.reshaped(value, tuple(shape), out.uses)


def _transpose(build: Builder, step: Step) -> Value:
  """Renames the axes; nothing is moved."""
  value, permutation = build.read(step.inputs[0]), tuple(step.params['permutation'])
  shape = tuple(value.shape[axis] for axis in permutation)
  return Value(value.name, shape, tuple(permutation.index(axis) for axis in value.order))


def _concatenate(build: Builder, step: Step) -> Value:
  values, out = [build.read(each, whole=True) for each in step.inputs], step.outputs[0]
  order = _order_of(values)
  return build.graph.add(
    'Concat', [build.graph.name(value, order) for value in values], out.shape, order, out.uses,
    axis=order.index(step.params['dimension']),
  )


def _slice(build: Builder, step: Step) -> Value:
  value, out, graph = build.read(step.inputs[0], whole=True), step.outputs[0], build.graph
  starts, ends = step.params['start_indices'], step.params['limit_indices']
  strides = step.params['strides'] or (1,) * len(starts)
  axes = [axis for axis, size in enumerate(value.shape) if isinstance(size, int)]
  column = lambda numbers: graph.constant(np.array(numbers, np.int64))
  inputs = [[numbers[axis] for axis in axes] for numbers in (starts, ends)]
  inputs += [[value.order.index(axis) for axis in axes], [strides[axis] for axis in axes]]
  return graph.add('Slice', [value.name, *map(column, inputs)], out.shape, value.order, out.uses)


def _pad(build: Builder, step: Step) -> Value:
  value, out, graph = build.read(step.inputs[0], whole=True), step.outputs[0], build.graph
  config = [step.params['padding_config'][axis] for axis in value.order]
  if any(inside or min(before, after) < 0 for before, after, inside in config):
    raise UserError('onnx: the network pads between values; write --format=stablehlo.')
  sizes = np.array([each[0] for each in config] + [each[1] for each in config], np.int64)
  fill = graph.name(build.read(step.inputs[1]))
  return graph.add(
    'Pad', [value.name, graph.constant(sizes), fill], out.shape, value.order, out.uses
  )


def _dot(build: Builder, step: Step) -> Value:
  (contracted, batched), (out,) = step.params['dimension_numbers'], step.outputs
  values = [build.read(each, whole=True) for each in step.inputs]
  names = [build.graph.name(value) for value in values]
  if [len(value.shape) for value in values] == [2, 2] and contracted == ((1,), (0,)):
    return build.graph.add('Gemm', names, out.shape, plain(2), out.uses)
  letters = iter('abcdefghijklmnopqrstuvwxyz')
  texts = [[next(letters) for _ in value.shape] for value in values]
  for axes in (contracted, batched):
    for left, right in zip(*axes):
      texts[1][right] = texts[0][left]
  free = [
    [text[axis] for axis in range(len(text)) if axis not in (*contracted[side], *batched[side])]
    for side, text in enumerate(texts)
  ]
  result = [texts[0][axis] for axis in batched[0]] + free[0] + free[1]
  equation = ','.join(map(''.join, texts)) + '->' + ''.join(result)
  return build.graph.add('Einsum', names, out.shape, plain(len(out.shape)), out.uses,
                         equation=equation)


OPERATORS: dict[str, Callable[[Builder, Step], Value]] = {
  'conv_general_dilated': _conv,
  'add': _binary('Add'),
  'sub': _binary('Sub'),
  'mul': _binary('Mul'),
  'div': _binary('Div'),
  'max': _binary('Max'),
  'min': _binary('Min'),
  'logistic': _unary('Sigmoid'),
  'tanh': _unary('Tanh'),
  'exp': _unary('Exp'),
  'sqrt': _unary('Sqrt'),
  'neg': _unary('Neg'),
  'rsqrt': _rsqrt,
  'reduce_sum': _reduce('ReduceSum'),
  'reduce_max': _reduce('ReduceMax'),
  'reduce_window_max': _pool('MaxPool'),
  'reduce_window_sum': _pool('AveragePool'),
  'reshape': _reshape,
  'squeeze': _reshape,
  'expand_dims': _reshape,
  'broadcast_in_dim': _broadcast,
  'transpose': _transpose,
  'concatenate': _concatenate,
  'slice': _slice,
  'pad': _pad,
  'dot_general': _dot,
}
