"""A traced function as a flat list of primitive operations of JAX."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

# Operations that only name or protect a value.
SAME = ('name', 'stop_gradient', 'optimization_barrier', 'copy')


@dataclasses.dataclass(eq=False)
class Array:
  """A value that is known only at run time.

  Attributes:
    shape: sizes; that of the batch axis is symbolic.
    dtype: of the values.
    uses: how often it is read.
  """

  shape: tuple
  dtype: np.dtype
  uses: int = 0


@dataclasses.dataclass(frozen=True)
class Step:
  """One operation.

  Attributes:
    primitive: its name in JAX.
    params: its parameters in JAX.
    inputs: Arrays, and NumPy arrays for constants.
    outputs: its results.
  """

  primitive: str
  params: dict[str, Any]
  inputs: list[Array | np.ndarray]
  outputs: list[Array]


def trace(function: Callable, images: jax.ShapeDtypeStruct) -> tuple[Array, list[Step], Array]:
  """Traces a function of images.

  Calls are inlined, and operations on constants are computed.

  Returns:
    The images, the operations in order, and the result.
  """
  closed = jax.make_jaxpr(function)(images)
  given = Array(tuple(images.shape), np.dtype(images.dtype))
  steps: list[Step] = []
  (result,) = _inline(closed.jaxpr, closed.consts, [given], steps)
  for step in steps:
    for value in step.inputs:
      if isinstance(value, Array):
        value.uses += 1
  result.uses += 1
  return given, steps, result


def _inline(jaxpr: Jaxpr, constants: list, arguments: list, steps: list[Step]) -> list:
  """Appends the operations of a jaxpr to `steps`; returns its results."""
  known = dict(zip(jaxpr.constvars, constants)) | dict(zip(jaxpr.invars, arguments))

  def read(atom):
    if isinstance(atom, Literal):
      return np.asarray(atom.val, atom.aval.dtype)
    value = known[atom]
    return value if isinstance(value, Array) else np.asarray(value)

  for equation in jaxpr.eqns:
    name, inputs = equation.primitive.name, [read(atom) for atom in equation.invars]
    inner = equation.params.get('jaxpr', equation.params.get('call_jaxpr'))
    if isinstance(inner, ClosedJaxpr):
      results = _inline(inner.jaxpr, inner.consts, inputs, steps)
    elif isinstance(inner, Jaxpr):
      results = _inline(inner, [], inputs, steps)
    elif name in SAME:
      results = inputs
    elif _is_constant(equation, inputs):
      results = _constants(equation, inputs)
    else:
      results = [Array(tuple(var.aval.shape), np.dtype(var.aval.dtype))
                 for var in equation.outvars]
      steps.append(Step(name, equation.params, inputs, results))
    known |= dict(zip(equation.outvars, results))
  return [read(atom) for atom in jaxpr.outvars]


def _is_constant(equation, inputs: list) -> bool:
  """Whether nothing in an operation depends on the images or their number."""
  sizes = equation.params.get('shape', ())
  return not any(isinstance(value, Array) for value in inputs) and (
    equation.primitive.name == 'broadcast_in_dim' or all(isinstance(size, int) for size in sizes)
  )


def _constants(equation, inputs: list[np.ndarray]) -> list[np.ndarray]:
  """Computes an operation. What is repeated over the images keeps a batch of 1."""
  params = equation.params
  if equation.primitive.name == 'broadcast_in_dim':
    fixed = lambda size: size if isinstance(size, int) else 1
    params = {**params, 'shape': tuple(map(fixed, params['shape']))}
  results = equation.primitive.bind(*inputs, **params)
  return [np.asarray(each) for each in (
    results if equation.primitive.multiple_results else [results]
  )]
