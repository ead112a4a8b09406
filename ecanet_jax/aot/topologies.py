"""The chips that programs can be compiled for: TPU slices, and GPUs in hosts of eight."""

import dataclasses
import importlib.metadata
import importlib.util
import pathlib
from typing import Any

import jax
from jax.experimental import topologies

from ecanet_jax.runtime.accelerators import PEAK_FLOPS, say_that_there_is_no_tpu
from ecanet_jax.runtime.errors import UserError, lookup


@dataclasses.dataclass(frozen=True)
class Chip:
  """What one chip can do at most.

  Attributes:
    hbm: bytes of memory that a program can have.
    bandwidth: bytes of HBM per second.
    flops: bfloat16 floating-point operations per second.
    clock: cycles of the matrix units per second; 0 for a GPU, whose compiler estimates none.
    lanes: images that it computes with side by side; 1 = any number is as good.
    platform: JAX's name of it, 'tpu' or 'cuda'.
    options: arguments of `jax.experimental.topologies.get_topology_desc`.
  """

  hbm: int
  bandwidth: float
  flops: float
  clock: float = 0.0
  lanes: int = 128
  platform: str = 'tpu'
  options: dict[str, Any] = dataclasses.field(default_factory=dict)


def _gpu(memory: int, bandwidth: float, flops: float) -> Chip:
  # JAX takes three quarters of a GPU's memory, unless XLA_PYTHON_CLIENT_MEM_FRACTION is set.
  return Chip(memory * 3 // 4, bandwidth, flops, lanes=1, platform='cuda')


# Memory: what libtpu 0.0.42.1 lets a program have, from its message for one that does not fit.
# Bandwidth: Google's pages https://cloud.google.com/tpu/docs/v4, /v5e, /v5p and /v6e;
# NVIDIA's data sheets.
CHIPS = {
  # Clock: Jouppi et al., "TPU v4" (ISCA 2023). 'megacore' makes one device of a chip's two cores.
  'v4': Chip(
    int(30.75 * 2**30), 1.2e12, PEAK_FLOPS['TPU v4'], 1.05e9,
    options={'chip_config_name': 'megacore'},
  ),
  # Clock: FLOP/s over 2 * 128 * 128 for each of 4 matrix units.
  'v5e': Chip(int(15.75 * 2**30), 819e9, PEAK_FLOPS['TPU v5 lite'], 1.5e9),
  # Clock: FLOP/s over 2 * 128 * 128 for each of 2 * 4 matrix units.
  'v5p': Chip(int(95.74 * 2**30), 2765e9, PEAK_FLOPS['TPU v5'], 1.75e9),
  # Clock: not published. FLOP/s over 2 * 256 * 256 for each of 4 matrix units; the page says 2,
  # and the compiler's cycles for a large product of matrices are fewer than 2 could do.
  'v6e': Chip(int(31.25 * 2**30), 1638e9, PEAK_FLOPS['TPU v6 lite'], 1.75e9),
  'h100': _gpu(84_929_347_584, 3352e9, PEAK_FLOPS['NVIDIA H100 80GB HBM3']),
  'a100': _gpu(85_100_068_864, 2039e9, PEAK_FLOPS['NVIDIA A100-SXM4-80GB']),
}
_PLANE = ('1x1', '2x2', '2x4', '4x4', '4x8', '8x8', '8x16', '16x16')
_CUBE = (
  '2x2x1', '2x2x2', '2x2x4', '2x4x4', '4x4x4', '4x4x8', '4x8x8', '8x8x8', '8x8x16',
)
_GPUS = ('1', '2', '4', '8', '16', '32', '64')
_GPUS_OF_A_HOST = 8
TOPOLOGIES = {
  f'{chip}:{shape}': chip
  for chip, shapes in {
    'v5e': _PLANE, 'v6e': _PLANE, 'v4': _CUBE, 'v5p': _CUBE, 'h100': _GPUS, 'a100': _GPUS,
  }.items()
  for shape in shapes
}
# What compiles for a platform: its name, the packages of which one must be installed, the extra.
_COMPILERS = {
  'tpu': ("libtpu, TPU's compiler", ('libtpu',), 'aot'),
  'cuda': ("JAX's CUDA plugin", ('jax_cuda12_plugin', 'jax_cuda13_plugin'), 'aot-gpu'),
}


def chip_of(topology: str) -> Chip:
  """The chip of a topology such as 'v5e:2x2' or 'h100:8'.

  Raises:
    UserError: a topology that is not in the table.
  """
  return CHIPS[lookup(TOPOLOGIES, topology, 'topology')]


def versions(topology: str) -> dict[str, str]:
  """Versions of JAX and of the package that compiles for a topology.

  Raises:
    UserError: an unknown topology, or the package is not installed.
  """
  compiler = _compiler(topology)
  return {name: importlib.metadata.version(name) for name in ('jax', compiler)}


def devices(topology: str) -> list[jax.Device]:
  """Described devices of a topology, one a chip.

  Programs can be compiled for them and not run. The first call for a TPU sets environment variables
  of libtpu that are not set.

  Args:
    topology: 'CHIP:SHAPE', a key of `TOPOLOGIES`.

  Raises:
    UserError: an unknown topology, or its compiler is not installed or does not load.
  """
  chip = chip_of(topology)
  compiler = _compiler(topology)
  describe = _describe_tpu if chip.platform == 'tpu' else _describe_gpu
  try:
    described = describe(topology, chip)
  except Exception as error:  # of JAX's plugin loader or of the compiler
    text = ' '.join(str(error).split())[:160]
    raise UserError(
      f'{compiler} cannot describe the topology {topology!r} ({text}): install the version that '
      f"this package was tested with, pip install 'ecanet-jax[{_COMPILERS[chip.platform][2]}]'."
    ) from error
  return list(described.devices)


def _compiler(topology: str) -> str:
  """The installed package that compiles for a topology."""
  what, packages, extra = _COMPILERS[chip_of(topology).platform]
  for name in packages:
    if importlib.util.find_spec(name):
      return name
  raise UserError(f"topology {topology!r} needs {what}: pip install 'ecanet-jax[{extra}]'.")


def _describe_tpu(topology: str, chip: Chip) -> topologies.TopologyDescription:
  say_that_there_is_no_tpu()
  options = dict(chip.options)
  if topology.endswith(':1x1'):
    options['chips_per_host_bounds'] = (1, 1, 1)
  return topologies.get_topology_desc(platform='tpu', topology_name=topology, **options)


def _describe_gpu(topology: str, chip: Chip) -> topologies.TopologyDescription:
  name, _, number = topology.partition(':')
  hosts = max(int(number) // _GPUS_OF_A_HOST, 1)
  return topologies.get_topology_desc(
    platform=chip.platform, topology_name=topology,
    topology=f'1x{hosts}x{int(number) // hosts}',  # slices x hosts x GPUs
    target_config=(pathlib.Path(__file__).parent / 'gpus' / f'{name}.txtpb').read_text(),
  )
