"""Checks that all processes of a training have the same configuration, data and workdir."""

import os

from ecanet_jax.config.trees import flat, plain
from ecanet_jax.data import DatasetInfo
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.consistency import (
  check_same,
  check_shared_directory,
  versions_and_devices,
)
from ecanet_jax.runtime.errors import UserError

# Keys that may differ between machines: the place of the data, and how they are read.
OWN = (
  'data.data_dir', 'data.csv', 'data.class_file', 'data.train_json', 'data.eval_json',
  'data.decode_threads',
)


def check_configuration(config, workdir: str | os.PathLike) -> None:
  """Compares config, workdir, versions and devices, before anything is read.

  Raises:
    UserError: in all processes, naming what differs.
  """

  def values() -> dict[str, str]:
    keys = flat(plain(config))
    named = {f'config.{key}': str(value) for key, value in keys.items() if key not in OWN}
    place = str(workdir) if paths.is_remote(workdir) else os.path.abspath(workdir)
    return {**named, **versions_and_devices(), 'workdir': place}

  check_same('configuration', values)


def check_data(info: DatasetInfo) -> None:
  """Compares the sizes of the splits and the classes.

  Raises:
    UserError: in all processes, naming what differs.
  """
  check_same('data', lambda: {
    'images of data.train_split': str(info.train.num_examples),
    'images of data.eval_split': str(info.eval.num_examples),
    'classes': str(info.num_classes), 'names of the classes': str(info.label_names),
  })


def prepare_workdir(workdir: paths.Path) -> None:
  """Creates the directory, and checks that it is the same one in all processes.

  Raises:
    UserError: it cannot be written to, or the processes have different ones.
  """
  try:
    paths.check_writable(workdir)
  except paths.StoreError as error:
    raise UserError(
      f'workdir={workdir} cannot be written to: {error.strerror}. {paths.advice(workdir)}'
    ) from error
  except OSError as error:
    raise UserError(f'workdir={workdir} cannot be made a directory: {error.strerror}.') from error
  check_shared_directory(workdir)
