"""StableHLO, as `jax.export` writes it: one file for CPUs, GPUs and TPUs, which needs only JAX."""

import contextlib
import dataclasses
import pathlib
import re
from collections import Counter
from collections.abc import Iterator

import jax
import numpy as np
from jax import export

from ecanet_jax.export.forward import Forward
from ecanet_jax.export.options import ExportOptions

_OPERATOR = re.compile(r'(?:= |^)"?stablehlo\.(\w+)')


@dataclasses.dataclass(frozen=True)
class StableHLO:
  """See `formats.Format`.

  `jax.export.deserialize(data).call(images)` runs the file.
  """

  name: str = 'stablehlo'
  suffix: str = '.stablehlo'
  extra: str | None = None
  backend: str = 'xla'
  tolerance: float = 1e-4
  cosine: float = 0.0

  def write(self, forward: Forward, path: pathlib.Path, options: ExportOptions) -> None:
    with without_source_locations():
      exported = export.export(jax.jit(forward.apply), platforms=options.platforms)(
        image_type(forward, options.batch)
      )
    path.write_bytes(bytes(exported.serialize()))

  def load(self, path: pathlib.Path):
    call = jax.jit(export.deserialize(bytearray(path.read_bytes())).call)
    return lambda images: np.asarray(call(images))

  def operators(self, path: pathlib.Path) -> Counter[str]:
    exported = export.deserialize(bytearray(path.read_bytes()))
    return count_operators(exported.mlir_module_serialized)

  def convolutions(self, operators: Counter[str]) -> int:
    return operators['convolution']


@contextlib.contextmanager
def without_source_locations() -> Iterator[None]:
  """Inside, programs are lowered without the paths and lines of the source files.

  The same network then gives the same bytes, whoever calls, and on every machine.
  """
  key = 'jax_traceback_in_locations_limit'
  before = getattr(jax.config, key)
  jax.config.update(key, 0)
  try:
    yield
  finally:
    jax.config.update(key, before)


def count_operators(module: bytes) -> Counter[str]:
  """Counts the operators of a serialized module, without constants.

  Where platforms differ, the module has a `case` with a branch for each. The first one counts.
  """
  # An exported function is the public way from bytes to text.
  some = export.export(jax.jit(lambda x: x))(jax.ShapeDtypeStruct((), np.float32))
  text = dataclasses.replace(some, mlir_module_serialized=module).mlir_module()
  found, branches = Counter(), []
  for line in map(str.strip, text.splitlines()):
    if line.startswith('})'):
      branches.pop()
    elif line.startswith('}, {'):
      branches[-1] += 1
    if not any(branches) and (operator := _OPERATOR.search(line)):
      found[operator[1]] += 1
    if line.endswith('({'):
      branches.append(0)
  for name in ('constant', 'return'):
    found.pop(name, None)
  return found


def image_type(forward: Forward, batch: int | None) -> jax.ShapeDtypeStruct:
  """The type of a network's input, `[batch, H, W, C]`; None = any batch."""
  first = export.symbolic_shape('b')[0] if batch is None else batch
  return jax.ShapeDtypeStruct((first, *forward.image_shape), np.float32)
