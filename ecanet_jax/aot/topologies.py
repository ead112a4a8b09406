"""The TPU chips and slices that programs can be compiled for."""

import dataclasses
import importlib.util
import os
from typing import Any

import jax
from jax.experimental import topologies

from ecanet_jax.runtime.accelerators import PEAK_FLOPS
from ecanet_jax.runtime.errors import UserError, lookup

# libtpu looks for a TPU host when it is loaded. These say that there is none, and let several
# processes of one machine compile at the same time.
_ENVIRONMENT = {
  'TPU_SKIP_MDS_QUERY': '1', 'TPU_ACCELERATOR_TYPE': 'v5litepod-4',
  'TPU_WORKER_HOSTNAMES': 'localhost', 'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
  'TPU_MIN_LOG_LEVEL': '3', 'TPU_STDERR_LOG_LEVEL': '3',
}


@dataclasses.dataclass(frozen=True)
class Chip:
  """What one chip can do at most.

  Attributes:
    hbm: bytes of memory that a program can have.
    bandwidth: bytes of HBM per second.
    flops: bfloat16 floating-point operations per second.
    clock: cycles of the matrix units per second.
    options: arguments of `jax.experimental.topologies.get_topology_desc`.
  """

  hbm: int
  bandwidth: float
  flops: float
  clock: float
  options: dict[str, Any] = dataclasses.field(default_factory=dict)


# Memory: what libtpu 0.0.42.1 lets a program have, from its message for one that does not fit.
# Bandwidth: Google's pages https://cloud.google.com/tpu/docs/v4, /v5e, /v5p and /v6e.
CHIPS = {
  # Clock: Jouppi et al., "TPU v4" (ISCA 2023). 'megacore' makes one device of a chip's two cores.
  'v4': Chip(
    int(30.75 * 2**30), 1.2e12, PEAK_FLOPS['TPU v4'], 1.05e9, {'chip_config_name': 'megacore'}
  ),
  # Clock: FLOP/s over 2 * 128 * 128 for each of 4 matrix units.
  'v5e': Chip(int(15.75 * 2**30), 819e9, PEAK_FLOPS['TPU v5 lite'], 1.5e9),
  # Clock: FLOP/s over 2 * 128 * 128 for each of 2 * 4 matrix units.
  'v5p': Chip(int(95.74 * 2**30), 2765e9, PEAK_FLOPS['TPU v5'], 1.75e9),
  # Clock: not published. FLOP/s over 2 * 256 * 256 for each of 4 matrix units; the page says 2,
  # and the compiler's cycles for a large product of matrices are fewer than 2 could do.
  'v6e': Chip(int(31.25 * 2**30), 1638e9, PEAK_FLOPS['TPU v6 lite'], 1.75e9),
}
_PLANE = ('1x1', '2x2', '2x4', '4x4', '4x8', '8x8', '8x16', '16x16')
_CUBE = (
  '2x2x1', '2x2x2', '2x2x4', '2x4x4', '4x4x4', '4x4x8', '4x8x8', '8x8x8', '8x8x16',
)
TOPOLOGIES = {
  f'{chip}:{shape}': chip
  for chip, shapes in {'v5e': _PLANE, 'v6e': _PLANE, 'v4': _CUBE, 'v5p': _CUBE}.items()
  for shape in shapes
}


def chip_of(topology: str) -> Chip:
  """The chip of a topology such as 'v5e:2x2'.

  Raises:
    UserError: a topology that is not in the table.
  """
  return CHIPS[lookup(TOPOLOGIES, topology, 'topology')]


def devices(topology: str) -> list[jax.Device]:
  """Described devices of a topology, one a chip.

  Programs can be compiled for them and not run. The first call sets environment variables of
  libtpu that are not set.

  Args:
    topology: 'CHIP:SHAPE', a key of `TOPOLOGIES`.

  Raises:
    UserError: an unknown topology, or libtpu is not installed or does not load.
  """
  options = dict(chip_of(topology).options)
  if importlib.util.find_spec('libtpu') is None:
    raise UserError(
      f"topology {topology!r} needs libtpu, TPU's compiler: pip install 'ecanet-jax[aot]'."
    )
  for name, value in _ENVIRONMENT.items():
    os.environ.setdefault(name, value)
  if topology.endswith(':1x1'):
    options['chips_per_host_bounds'] = (1, 1, 1)
  try:
    described = topologies.get_topology_desc(
      platform='tpu', topology_name=topology, **options
    )
  except Exception as error:  # of JAX's plugin loader or of libtpu
    text = ' '.join(str(error).split())[:160]
    raise UserError(
      f"libtpu cannot describe the topology {topology!r} ({text}): install the version that this "
      "package was tested with, pip install 'ecanet-jax[aot]'."
    ) from error
  return list(described.devices)
