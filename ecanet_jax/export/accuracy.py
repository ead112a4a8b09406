"""The accuracy of a network on a folder of labelled photographs."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ecanet_jax.export import check
from ecanet_jax.runtime.errors import UserError, closest


def labels_of(files: Sequence[str], root: str, names: Sequence[str] | None, classes: int
              ) -> np.ndarray:
  """The class of each photograph: the folder below `root` that it is in.

  Args:
    files: paths below `root`.
    root: a directory with a folder for each class, by its name or number.
    names: of the classes, or None.
    classes: their number.

  Raises:
    UserError: a photograph is in no folder of a class.
  """
  known = {name: label for label, name in enumerate(names or ())}
  labels = []
  for file in files:
    parts = pathlib.PurePath(file).relative_to(root).parts
    folder = parts[0] if len(parts) > 1 else ''
    if folder in known:
      labels.append(known[folder])
    elif folder.isdigit() and int(folder) < classes:
      labels.append(int(folder))
    else:
      where = f'is in {folder!r}, which is no class.{closest(folder, known)}' if folder else (
        'is in no folder of a class.'
      )
      raise UserError(
        f'{file} {where} Static attention is judged by the accuracy: give --check=DIR with '
        'DIR/CLASS/IMAGE, where CLASS is a name or number of the network.'
      )
  return np.array(labels)


def top1(
  programs: Sequence[Callable[[np.ndarray], np.ndarray]], files: Sequence[str], labels: np.ndarray,
  preprocessing: Mapping[str, Any],
) -> list[float]:
  """The top-1 accuracy of each program, from 0 to 1, on the same photographs.

  Args:
    programs: map normalised images `[B, H, W, C]` to logits.
    files: paths of the photographs.
    labels: `[N]`.
    preprocessing: of the network.
  """
  right = np.zeros(len(programs))
  for start in range(0, len(files), check.BATCH):
    part = slice(start, start + check.BATCH)
    images = check.normalised(check.photographs(files[part], preprocessing), preprocessing)
    for number, program in enumerate(programs):
      logits = check.run(program, images, check.BATCH)
      right[number] += (logits.argmax(1) == labels[part]).sum()
  return list(right / len(files))
