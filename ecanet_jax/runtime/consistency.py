"""Processes of one training must be given the same: config, versions, data, number of devices."""

import importlib.metadata
import json
import os
import pathlib
import platform
import time
from collections.abc import Callable, Mapping

import jax

from ecanet_jax.config.trees import flat, plain
from ecanet_jax.data import DatasetInfo
from ecanet_jax.runtime import sharding
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.version import __version__

PACKAGES = (
  'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'ml-collections', 'libtpu',
  'tensorflow', 'tensorflow-cpu', 'tensorflow-datasets',
)
# What may differ from machine to machine: where its copy of the data is, and how it reads it.
OWN = ('data.data_dir', 'data.decode_threads')
SHOWN = 8  # differences that are printed
MARK_SECONDS = 60  # for a file of another machine to be seen, which network file systems delay


def configuration(config, workdir: str | os.PathLike) -> dict[str, str]:
  """What must be the same before anything is read: config, workdir, versions, devices."""
  values = flat(plain(config))
  facts = {f'config.{key}': str(value) for key, value in values.items() if key not in OWN}
  facts |= {f'version of {name}': version(name) for name in PACKAGES}
  return facts | {
    'version of ecanet_jax': __version__,
    'version of Python': '.'.join(platform.python_version_tuple()[:2]),
    'workdir': os.path.abspath(workdir),
    'devices of a process': str(jax.local_device_count()),
    'kind of device': jax.local_devices()[0].device_kind,
  }


def contents(info: DatasetInfo) -> dict[str, str]:
  """What must be the same of the data."""
  splits = {'train': info.train, 'eval': info.eval}
  facts = {f'images of data.{key}_split': str(split.num_examples) for key, split in splits.items()}
  return facts | {'classes': str(info.num_classes), 'names of the classes': str(info.label_names)}


def one_directory(workdir: pathlib.Path) -> None:
  """Returns once every process has seen a file that the first one wrote; at once in a single one.

  Raises:
    UserError: on all of them; a path of one name on several machines is no common directory.
  """
  if jax.process_count() == 1:
    return
  first, key = jax.process_index() == 0, 'ecanet_jax/mark'
  if first:
    mark = workdir / f'.mark-{os.getpid()}-{time.time_ns()}'
    mark.touch()
    sharding.publish(key, mark.name)
  seen = _appears(workdir / sharding.await_published(key, 600))
  try:
    agree('workdir', lambda: {f'a file in {workdir}': 'seen' if seen else 'not seen'})
  finally:
    if first:
      mark.unlink()


def _appears(path: pathlib.Path) -> bool:
  end = time.monotonic() + MARK_SECONDS
  while not path.exists():
    if time.monotonic() > end:
      return False
    time.sleep(0.1)
    os.listdir(path.parent)  # which NFS asks the server for
  return True


def agree(what: str, say: Callable[[], Mapping[str, str]], seconds: float = 600) -> None:
  """Returns once every process has said the same; at once in a single one.

  Args:
    what: a word for it, once per training.
    say: gives the facts by name.
    seconds: to wait for the slowest process.

  Raises:
    UserError: on all of them; the text names what differs and both values.
  """
  if jax.process_count() == 1:
    return
  key, me = f'ecanet_jax/agree/{what}/', jax.process_index()
  facts = dict(say())
  sharding.publish(f'{key}{me}', json.dumps(facts))
  for other in range(jax.process_count()):
    theirs = json.loads(sharding.await_published(f'{key}{other}', seconds))
    names = [name for name in {**facts, **theirs} if facts.get(name) != theirs.get(name)]
    if names:
      listed = '; '.join(
        f'{name} is {facts.get(name)} in process {me} and {theirs.get(name)} in process {other}'
        for name in names[:SHOWN]
      )
      more = f'; and {len(names) - SHOWN} more' if len(names) > SHOWN else ''
      raise UserError(f'the processes were not given the same {what}: {listed}{more}.')


def version(package: str) -> str:
  """The installed version of a package, 'none' without one."""
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return 'none'
