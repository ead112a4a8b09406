"""The mesh of devices, and how arrays are placed on it."""

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ecanet_jax.runtime.errors import UserError


def make_mesh(devices: int = 0) -> Mesh:
  """All devices of all processes, or the first few, along the axis 'data'; see `mesh_of`."""
  return mesh_of(jax.devices()[: devices or None])


def mesh_of(devices: Sequence[jax.Device]) -> Mesh:
  """Devices along the axis 'data', in the order of their hosts.

  Each host's rows of a batch are then contiguous, as the data pipeline numbers them, so that an
  image has the same row on any number of hosts. `jax.make_mesh` follows the torus of a TPU pod
  instead, where neighbours are of different hosts.
  """
  ordered = sorted(devices, key=host_of)
  return Mesh(np.array(ordered), ('data',), axis_types=(AxisType.Auto,))


def host_of(device: jax.Device) -> int:
  """The number of the process that a device belongs to."""
  return device.process_index


def replicated(mesh: Mesh) -> NamedSharding:
  """The sharding with a copy on every device."""
  return NamedSharding(mesh, PartitionSpec())


def by_image(mesh: Mesh, parts: int = 1) -> NamedSharding:
  """The sharding that divides the images over the devices.

  Images are on the first axis, or with several parts on the second.
  """
  return NamedSharding(mesh, PartitionSpec('data') if parts == 1 else PartitionSpec(None, 'data'))


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh, parts: int = 1) -> dict[str, jax.Array]:
  """Places this process's rows `[b, ...]` of a batch as global arrays `[b * processes, ...]`.

  With several parts the arrays are `[parts, b * processes / parts, ...]`, and every device has rows
  of each part.
  """
  if parts > 1:
    batch = {key: value.reshape(parts, -1, *value.shape[1:]) for key, value in batch.items()}
  sharding = by_image(mesh, parts)
  return {
    key: jax.make_array_from_process_local_data(sharding, value) for key, value in batch.items()
  }


def put_everywhere(arrays: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
  """Places a copy on every device; every process must have the same arrays."""
  sharding = replicated(mesh)
  return {
    key: jax.make_array_from_callback(value.shape, sharding, value.__getitem__)
    for key, value in arrays.items()
  }


def check_batch(name: str, batch_size: int, mesh: Mesh) -> None:
  """Raises UserError unless the global batch divides over the devices."""
  devices = mesh.devices.size
  if batch_size < 1 or batch_size % devices:
    below = batch_size // devices * devices
    near = ' or '.join(str(n) for n in (below, below + devices) if n > 0)
    raise UserError(
      f'{name}={batch_size} does not divide over {devices} devices; '
      f'give a multiple of {devices}, such as {near}.'
    )
