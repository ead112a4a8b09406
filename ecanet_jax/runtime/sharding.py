"""The only place that knows of devices and processes: start-up, mesh, placement."""

import contextlib
import importlib.util
import pathlib
import time

import jax
import numpy as np
from jax._src import distributed  # the coordination service has no public way to store a text
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ecanet_jax.runtime.errors import UserError

HEARTBEAT = 30  # seconds without a sign of life, after which JAX ends the other processes
TOGETHER = 5  # seconds in which the other processes may come to the same mistake


def start_processes(coordinator: str, num_processes: int, process_id: int) -> None:
  """Joins the processes of one training; must run before anything else touches a device.

  With a coordinator ('host:port') the three arguments are used; on a Cloud TPU machine without
  one, JAX finds the pod by itself; else this is the only process.

  Raises:
    UserError: arguments that do not fit each other.
  """
  if coordinator:
    if ':' not in coordinator:
      raise UserError(f'--coordinator={coordinator}: give host:port, such as 10.0.0.1:1234.')
    if not 0 <= process_id < num_processes:
      raise UserError(
        f'--process_id={process_id} must be at least 0 and below --num_processes={num_processes}.'
      )
    if jax.config.jax_platforms == 'cpu':
      jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    jax.distributed.initialize(
      coordinator, num_processes, process_id, heartbeat_timeout_seconds=HEARTBEAT
    )
  elif _on_cloud_tpu():
    jax.distributed.initialize(heartbeat_timeout_seconds=HEARTBEAT)


def is_one_of_several() -> bool:
  """This process has joined others."""
  return distributed.global_state.client is not None


def stop_processes(failed: bool) -> None:
  """Leaves the others before this process ends without Python's own end; nothing in a single one.

  Args:
    failed: perhaps by itself: the others are waited for a moment only, and then lose this one.
  """
  client = distributed.global_state.client
  if client is None:
    return
  if not failed:
    jax.distributed.shutdown()
    return
  with contextlib.suppress(RuntimeError):  # the others did not make the same mistake
    client.wait_at_barrier('ecanet_jax/failed', TOGETHER * 1000)
    if distributed.global_state.service is not None:
      time.sleep(0.5)  # the others would end with this one, and not in their own way


def publish(key: str, text: str) -> None:
  """Tells all processes a text; nothing in a single one."""
  client = distributed.global_state.client
  if client is not None:
    with contextlib.suppress(RuntimeError):  # the service is gone: others see to that
      client.key_value_set(key, text, allow_overwrite=True)


def published(prefix: str) -> list[tuple[str, str]]:
  """What processes have told so far under keys that begin so, with the keys."""
  client = distributed.global_state.client
  if client is not None:
    with contextlib.suppress(RuntimeError):
      return sorted(client.key_value_dir_get(prefix))
  return []


def await_published(key: str, seconds: float) -> str:
  """What a process has told or tells within so many seconds.

  Raises:
    UserError: it did not.
  """
  try:
    return distributed.global_state.client.blocking_key_value_get(key, round(seconds * 1000))
  except RuntimeError as error:
    raise UserError(
      f'another process did not come to {key!r} in {seconds:g} s; its own log says why '
      f'({" ".join(str(error).split())[:100]}).'
    ) from error


def _on_cloud_tpu() -> bool:
  devices = [*pathlib.Path('/dev').glob('accel*'), *pathlib.Path('/dev').glob('vfio/[0-9]*')]
  return importlib.util.find_spec('libtpu') is not None and bool(devices)


def make_mesh(devices: int = 0) -> Mesh:
  """All devices of all processes, or the first few, along the axis 'data'."""
  chosen = jax.devices()[: devices or None]
  return jax.make_mesh((len(chosen),), ('data',), axis_types=(AxisType.Auto,), devices=chosen)


def replicated(mesh: Mesh) -> NamedSharding:
  """A copy on every device."""
  return NamedSharding(mesh, PartitionSpec())


def by_image(mesh: Mesh, parts: int = 1) -> NamedSharding:
  """The images, the first axis, are cut over the devices; behind the parts' if there are several.
  """
  return NamedSharding(mesh, PartitionSpec('data') if parts == 1 else PartitionSpec(None, 'data'))


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh, parts: int = 1) -> dict[str, jax.Array]:
  """Places this process's rows `[b, ...]` of a batch as global arrays `[b * processes, ...]`.

  With several parts, `[parts, b * processes / parts, ...]`: every device has rows of each part.
  """
  if parts > 1:
    batch = {key: value.reshape(parts, -1, *value.shape[1:]) for key, value in batch.items()}
  sharding = by_image(mesh, parts)
  return {
    key: jax.make_array_from_process_local_data(sharding, value) for key, value in batch.items()
  }


def put_everywhere(arrays: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
  """Places a copy of arrays that every process has on every device."""
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


def check_parts(config, mesh: Mesh) -> None:
  """Raises UserError unless `accumulate` cuts the batch, the devices' rows and BatchNorm's groups.
  """
  parts, devices, groups = config.accumulate, mesh.devices.size, config.model.bn_groups
  if parts < 1 or config.batch_size % (parts * devices):
    raise UserError(
      f'accumulate={parts} must be at least 1, and batch_size={config.batch_size} a multiple of '
      f'accumulate times {devices} devices.'
    )
  if groups % parts and not config.model.frozen_bn:
    raise UserError(
      f'accumulate={parts} must divide model.bn_groups={groups}: BatchNorm sees one part at a '
      f'time; set --config.model.bn_groups={parts} for the statistics of each part.'
    )
