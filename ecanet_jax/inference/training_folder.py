"""Compares the classes of a training with the class folders that it was trained on."""

import os
from collections.abc import Sequence

from ecanet_jax.config.stored import FILE, read_config
from ecanet_jax.data.class_comparison import check_classes
from ecanet_jax.runtime import paths


def check_training_folder(
  weights: str | os.PathLike, images: Sequence[str], label_names: Sequence[str] | None,
  *, accept: bool,
) -> None:
  """Refuses pictures of a training's own class folders, if their names are others by now.

  Pictures from elsewhere are not compared: their folders need not be classes.

  Args:
    weights: the workdir of a training; all other weights, also converted ones, are not compared.
    images: paths of the pictures.
    label_names: the class names of the weights.
    accept: a warning instead, if the number of classes is the same.

  Raises:
    UserError: with the first difference.
  """
  if label_names is None or paths.is_remote(weights) or not os.path.isfile(
    os.path.join(weights, FILE)
  ):
    return
  data = read_config(weights).data
  if data.source != 'folder' or paths.is_remote(data.data_dir):
    return
  split = os.path.join(data.data_dir, data.train_split)
  folder = os.path.realpath(split if os.path.isdir(split) else data.data_dir)
  if not any(os.path.realpath(image).startswith(folder + os.sep) for image in images):
    return
  names = sorted(
    entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != '.'
  )
  check_classes(
    str(weights), label_names, names, accept=accept, flag='--accept_changes',
    otherwise=f'These pictures are of the folder of its training, {data.data_dir}.',
  )
