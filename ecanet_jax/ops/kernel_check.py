"""Whether this machine can use the CPU kernels. Nothing is compiled to find out."""

import dataclasses
import shutil


@dataclasses.dataclass(frozen=True)
class KernelCheck:
  """What the CPU kernels find on this machine.

  Attributes:
    compiler: the C++ compiler's command, '' = none.
    compiled: the float32 kernels are compiled already; else the first use compiles them.
    problem: why they cannot be used, one line; '' = they can.
  """

  compiler: str
  compiled: bool
  problem: str


def check_kernels() -> KernelCheck:
  """Looks for a C++ compiler and for compiled kernels."""
  from ecanet_jax.ops import cpu

  try:
    compiler = cpu.compiler()[0]
  except RuntimeError as error:
    return KernelCheck('', False, str(error))
  if not shutil.which(compiler):
    return KernelCheck('', False, f'no compiler {compiler!r} ($CXX)')
  return KernelCheck(compiler, cpu.ready('float32'), '')
