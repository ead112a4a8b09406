"""A dump of the step that ended a training because it was not finite."""

import io
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ecanet_jax.config.trees import plain
from ecanet_jax.data import Dataset, shuffling
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.training.faults.nonfinite import NonFiniteError
from ecanet_jax.version import __version__


def with_dump(
  error: NonFiniteError, workdir: paths.Path, dataset: Dataset, image_size: int, variables
) -> NonFiniteError:
  """Dumps the last step in the first process; returns the error with the dump's place and advice.

  Args:
    error: of the step that ended the training.
    workdir: of the training.
    dataset: of the training.
    image_size: pixels of the step's images.
    variables: parameters and statistics.
  """
  folder = workdir
  if jax.process_index() == 0:
    folder = write_dump(workdir, dataset, image_size, error.step, error.values, variables)
  return NonFiniteError(
    f'{error}. {folder} has the batch, metrics and config; the checkpoints in {workdir} are kept. '
    f'Try a lower schedule.lr than {dataset.config.schedule.lr} or optimizer.clip_norm=1.'
  )


def write_dump(
  workdir: paths.Path, dataset: Dataset, image_size: int, step: int,
  values: Mapping[int, dict[str, float]], variables,
) -> paths.Path:
  """Writes the batch and the state of the step that ended a training.

  Args:
    workdir: of the training; its folder dump_STEP is created.
    dataset: the data set of the training.
    image_size: pixels of the step's images.
    step: the last step, from 1.
    values: metrics of the last steps, by step.
    variables: parameters and statistics; no bad step has changed them.

  Returns:
    The folder. report.json has the config, versions, metrics, the range of each array, and index,
    label (of a detector: number of boxes) and range of each image of the batch. batch.npz has the
    batch.
  """
  folder = workdir / f'dump_{step}'
  paths.make_directory(folder)
  report = {
    'step': step, 'metrics': {str(number): value for number, value in values.items()},
    'versions': {'ecanet_jax': __version__, 'jax': jax.__version__},
    'config': plain(dataset.config), 'image_size': image_size,
    'arrays': {
      jax.tree_util.keystr(path, simple=True, separator='/'): _range(np.asarray(leaf))
      for path, leaf in jax.tree_util.tree_leaves_with_path(jax.device_get(variables))
    },
  }
  try:
    batch = next(dataset.train(step - 1, 1, image_size=image_size))
    arrays = io.BytesIO()
    np.savez_compressed(arrays, **batch)
    paths.write_whole(folder / 'batch.npz', arrays.getvalue())
    report['batch'] = _describe(batch, dataset, step)
  except (UserError, OSError, StopIteration) as error:
    report['batch'] = f'cannot be read again: {error}'
  text = json.dumps(_for_json(report), indent=1, allow_nan=False)
  paths.write_whole(folder / 'report.json', text + '\n')
  return folder


def _describe(batch, dataset: Dataset, step: int) -> list[dict[str, Any]]:
  config, info = dataset.config, dataset.info
  if 'index' in batch:  # of a detector
    return [
      {'index': index, 'boxes': int(valid.sum()), **_range(image)}
      for index, valid, image in zip(
        batch['index'].tolist(), batch['valid'], batch['image'], strict=True)
    ]
  rows = np.arange(len(batch['label']))
  # TFRecord files have no index.
  _, indices = shuffling.batch_positions(
    info.train.num_examples, config.seed, step - 1, config.batch_size, rows
  )
  named = indices.tolist() if info.index_addressable else [None] * len(rows)
  return [
    {'index': index, 'label': label.tolist(), **_range(image)}
    for index, label, image in zip(named, batch['label'], batch['image'], strict=True)
  ]


def _range(array: np.ndarray) -> dict[str, float]:
  values = array.astype(np.float64)
  good = values[np.isfinite(values)]
  ends = (good.min(), good.max(), good.mean(), good.std()) if good.size else (0.0,) * 4
  found = dict(zip(('min', 'max', 'mean', 'std'), map(float, ends), strict=True))
  return {**found, 'not_finite': int(values.size - good.size)}


def _for_json(value):
  """Replaces NaN and infinity, which JSON does not have, by texts."""
  if isinstance(value, dict):
    return {key: _for_json(item) for key, item in value.items()}
  if isinstance(value, (list, tuple)):
    return [_for_json(item) for item in value]
  if isinstance(value, (np.ndarray, np.generic)):
    value = value.item()
  return str(value) if isinstance(value, float) and not np.isfinite(value) else value
