"""A graph of ONNX under construction: operators, constants, and the order of each value's axes.

JAX has images as `[B, H, W, C]`, ONNX's convolutions as `[B, C, H, W]`. Each value records in which
order its axes are stored, so that images are transposed once, at the input.
"""

import dataclasses
from typing import Any, TypeAlias

import numpy as np

from ecanet_jax.runtime.errors import UserError

NCHW = (0, 3, 1, 2)
Order: TypeAlias = tuple[int, ...]


@dataclasses.dataclass
class Node:
  """An operator.

  Attributes:
    operator: its name in ONNX.
    inputs: names of values and constants.
    output: the name of its result.
    attributes: of the operator, in ONNX's words.
    uses: how often its result is read, if that is a value of JAX; 0 = a step between two of them.
    pixels: of a sum over the pixels: their number.
  """

  operator: str
  inputs: list[str]
  output: str
  attributes: dict[str, Any]
  uses: int = 0
  pixels: int = 0


@dataclasses.dataclass(frozen=True)
class Value:
  """The result of a node, the images, or a constant.

  Attributes:
    name: in the graph; '' for a constant that is not in it yet.
    shape: as JAX has it. An axis of 1 may stand for more: ONNX repeats it.
    order: the stored axis i is JAX's axis `order[i]`.
    constant: the values as JAX has them; None for all others.
  """

  name: str
  shape: tuple
  order: Order
  constant: np.ndarray | None = None


def plain(rank: int) -> Order:
  """The order of JAX."""
  return tuple(range(rank))


def stored(shape: tuple, order: Order) -> tuple:
  """A shape in the order in which it is stored."""
  return tuple(shape[axis] for axis in order)


class Graph:
  """Nodes in order, and constants by name."""

  def __init__(self):
    self.nodes: list[Node] = []
    self.constants: dict[str, np.ndarray] = {}
    self._makers: dict[str, Node] = {}
    self._shapes: dict[str, tuple] = {}  # as stored
    self._arranged: dict[tuple, Value] = {}
    self._names: dict[tuple, str] = {}

  def add(
    self, operator: str, inputs: list[str], shape: tuple, order: Order, uses: int = 0,
    pixels: int = 0, **attributes: Any,
  ) -> Value:
    """Appends an operator; returns its result."""
    output = f'{operator.lower()}_{len(self.nodes)}'
    node = Node(operator, inputs, output, attributes, uses, pixels)
    self.nodes.append(node)
    self._makers[node.output] = node
    self._shapes[node.output] = stored(shape, order)
    return Value(node.output, shape, order)

  def maker(self, value: Value) -> Node | None:
    """The node that computes a value; reshapes that are read once are skipped."""
    node = self._makers.get(value.name)
    while node is not None and node.operator == 'Reshape' and node.uses == 1:
      node = self._makers.get(node.inputs[0])
    return node

  def constant(self, values: np.ndarray) -> str:
    """The name of a constant with these values, stored as they are."""
    values = np.ascontiguousarray(values) if values.ndim else values
    key = (values.dtype.str, values.shape, values.tobytes())
    if key not in self._names:
      self._names[key] = f'constant_{len(self._names)}'
      self.constants[self._names[key]] = values
    return self._names[key]

  def name(self, value: Value, order: Order | None = None) -> str:
    """The name of a value whose axes are stored in this order; None = JAX's."""
    order = plain(len(value.shape)) if order is None else order
    if value.constant is not None:
      return self.constant(value.constant.transpose(order))
    return self.arranged(value, order).name

  def arranged(self, value: Value, order: Order) -> Value:
    """A value with its axes in this order."""
    if value.order == order:
      return value
    key = (value.name, value.shape, value.order, order)
    if key not in self._arranged:
      if _moved(value.shape, value.order) == _moved(value.shape, order):
        self._arranged[key] = self._reshape(value, value.shape, order)
      else:
        permutation = [value.order.index(axis) for axis in order]
        self._arranged[key] = self.add(
          'Transpose', [value.name], value.shape, order, perm=permutation
        )
    return self._arranged[key]

  def reshaped(self, value: Value, shape: tuple, uses: int) -> Value:
    """A value in another shape, as JAX's reshape does it; not for constants."""
    rank = len(value.shape)
    if _moved(value.shape, value.order) != _moved(value.shape, plain(rank)):
      value = self.arranged(value, plain(rank))
    return self._reshape(value, shape, plain(len(shape)), uses)

  def _reshape(self, value: Value, shape: tuple, order: Order, uses: int = 0) -> Value:
    """A Reshape of the stored values; of two in a row, only the second is needed."""
    sizes = [size if isinstance(size, int) else -1 for size in stored(shape, order)]
    if sizes.count(-1) > 1:
      raise UserError('onnx: a reshape has two axes whose size depends on the batch; write '
                      '--format=stablehlo instead.')
    source, node = value.name, self._makers.get(value.name)
    if node is not None and node.operator == 'Reshape':
      source = node.inputs[0]
    if self._shapes.get(source) == stored(shape, order):
      return Value(source, shape, order)
    return self.add('Reshape', [source, self.constant(np.array(sizes, np.int64))], shape, order,
                    uses)

  def used(self, result: str) -> list[Node]:
    """The nodes that the result needs, in order."""
    needed, kept = {result}, []
    for node in reversed(self.nodes):
      if node.output in needed:
        needed |= set(node.inputs)
        kept.append(node)
    return kept[::-1]


def _moved(shape: tuple, order: Order) -> list[int]:
  """The axes of more than one value, in the stored order."""
  return [axis for axis in order if not (isinstance(shape[axis], int) and shape[axis] == 1)]
