"""The processes of one training: start, end, and short texts that they exchange."""

import contextlib
import importlib.util
import time

import jax
from jax._src import distributed  # the coordination service has no public key-value store

from ecanet_jax.runtime.accelerators import device_files
from ecanet_jax.runtime.errors import UserError, one_line

HEARTBEAT = 30  # seconds without a heartbeat after which JAX ends the other processes
TOGETHER = 5  # seconds to wait for the other processes to fail for the same reason


def start_processes(coordinator: str, num_processes: int, process_id: int) -> None:
  """Joins the processes of one training. Call it before a device is used.

  With a coordinator ('host:port') the three arguments count. Without one, JAX finds the pod of a
  Cloud TPU machine; anywhere else this is the only process.

  Raises:
    UserError: the arguments contradict each other.
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
  """Whether this process has joined others."""
  return distributed.global_state.client is not None


def stop_processes(failed: bool) -> None:
  """Leaves the other processes before `os._exit`; does nothing in a single process.

  Args:
    failed: whether this process ends with an error. It then waits up to TOGETHER seconds for the
      others to end, too, before they lose it.
  """
  client = distributed.global_state.client
  if client is None:
    return
  if not failed:
    jax.distributed.shutdown()
    return
  with contextlib.suppress(RuntimeError):  # the others did not fail
    client.wait_at_barrier('ecanet_jax/failed', TOGETHER * 1000)
    if distributed.global_state.service is not None:
      time.sleep(0.5)  # lets the others print their errors while the service still runs


def publish(key: str, text: str) -> None:
  """Publishes a text under a key to all processes; does nothing in a single process."""
  client = distributed.global_state.client
  if client is not None:
    with contextlib.suppress(RuntimeError):  # the service has stopped; JAX reports that itself
      client.key_value_set(key, text, allow_overwrite=True)


def published(prefix: str) -> list[tuple[str, str]]:
  """The published keys with this prefix, with their texts."""
  client = distributed.global_state.client
  if client is not None:
    with contextlib.suppress(RuntimeError):
      return sorted(client.key_value_dir_get(prefix))
  return []


def await_published(key: str, seconds: float) -> str:
  """Waits for the text of a key.

  Raises:
    UserError: no process has published it within `seconds`.
  """
  try:
    return distributed.global_state.client.blocking_key_value_get(key, round(seconds * 1000))
  except RuntimeError as error:
    raise UserError(
      f'another process did not reach {key!r} in {seconds:g} s; its own log says why '
      f'({one_line(error, 100)}).'
    ) from error


def _on_cloud_tpu() -> bool:
  return importlib.util.find_spec('libtpu') is not None and bool(device_files('tpu'))
