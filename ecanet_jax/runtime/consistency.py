"""Checks that the processes of a training agree: each publishes its values, and all compare."""

import json
import os
import platform
import time
from collections.abc import Callable, Mapping

import jax

from ecanet_jax.runtime import distributed, paths
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.version import __version__, installed

PACKAGES = (
  'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'ml-collections', 'libtpu',
  'tensorflow', 'tensorflow-cpu', 'tensorflow-datasets',
)
SHOWN = 8  # most differences in a message
MARK_SECONDS = 60  # time for a network file system to show a new file on the other machines


def check_same(what: str, give: Callable[[], Mapping[str, str]], seconds: float = 600) -> None:
  """Waits until every process has published the same values; returns at once in a single process.

  Args:
    what: a word for the values; use each word once per training.
    give: returns the values by name.
    seconds: time limit for the slowest process.

  Raises:
    UserError: in all processes; the text names what differs, with both values.
  """
  if jax.process_count() == 1:
    return
  key, me = f'ecanet_jax/agree/{what}/', jax.process_index()
  mine = dict(give())
  distributed.publish(f'{key}{me}', json.dumps(mine))
  for other in range(jax.process_count()):
    theirs = json.loads(distributed.await_published(f'{key}{other}', seconds))
    names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
    if names:
      listed = '; '.join(
        f'{name} is {mine.get(name)} in process {me} and {theirs.get(name)} in process {other}'
        for name in names[:SHOWN]
      )
      more = f'; and {len(names) - SHOWN} more' if len(names) > SHOWN else ''
      raise UserError(f'the processes were not given the same {what}: {listed}{more}.')


def versions_and_devices() -> dict[str, str]:
  """The versions of the packages, and the devices of the process."""
  return {f'version of {name}': installed(name) or 'none' for name in PACKAGES} | {
    'version of ecanet_jax': __version__,
    'version of Python': '.'.join(platform.python_version_tuple()[:2]),
    'devices of a process': str(jax.local_device_count()),
    'kind of device': jax.local_devices()[0].device_kind,
  }


def check_shared_directory(workdir: paths.Path) -> None:
  """Checks that all processes see the same directory; returns at once in a single process.

  Raises:
    UserError: in all processes, if the path is another directory on some machine.
  """
  if jax.process_count() == 1:
    return
  first, key = jax.process_index() == 0, 'ecanet_jax/mark'
  if first:
    mark = workdir / f'.mark-{os.getpid()}-{time.time_ns()}'
    paths.write_whole(mark, b'')
    distributed.publish(key, mark.name)
  seen = _appears(workdir / distributed.await_published(key, 600))
  try:
    check_same('workdir', lambda: {f'a file in {workdir}': 'seen' if seen else 'not seen'})
  finally:
    if first:
      mark.unlink()


def _appears(path: paths.Path) -> bool:
  end = time.monotonic() + MARK_SECONDS
  while not path.exists():
    if time.monotonic() > end:
      return False
    time.sleep(0.1)
    if not paths.is_remote(path):
      os.listdir(path.parent)  # makes NFS ask the server
  return True
