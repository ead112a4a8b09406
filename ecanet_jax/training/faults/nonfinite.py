"""Steps whose loss or gradient is not finite: they change nothing, are counted, and end it at last.

One such batch would poison BatchNorm's statistics, averages and moments for ever. The step number
goes on: the next step has the next batch, dropout key and average's decay, as if this batch had not
been learnt from. The optimizer's own count of updates stands still with the rest of its state, so
that after k such steps the learning rate it applies is that of k steps before.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ecanet_jax.config.difference import plain
from ecanet_jax.data import Dataset, shuffling
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.progress import log
from ecanet_jax.version import __version__

Tree = TypeVar('Tree')


class NonFiniteError(UserError):
  """Too many steps in a row had a loss or a gradient that is not finite.

  Attributes:
    step: the last of them.
    values: metrics by step, of the steps that were written together with it.
  """

  def __init__(self, text: str, step: int = 0, values: dict[int, dict[str, float]] | None = None):
    super().__init__(text)
    self.step, self.values = step, values or {}


def finite(loss: jax.Array, grad_norm: jax.Array, variables) -> jax.Array:
  """Whether a step may change the state; bool scalar, under jit.

  The new parameters and running statistics are asked too: a learning rate that is far too high, or
  a variance that overflows, has a loss and a gradient that are finite.
  """
  sums = [leaf.sum() for leaf in jax.tree.leaves(variables)]
  # One reduction of one array: a chain of additions would be compiled into every consumer again.
  return jnp.isfinite(jnp.stack([loss, grad_norm, *sums])).all()


def choose(ok: jax.Array, new: Tree, old: Tree) -> Tree:
  """`new` if ok, else `old`, bit for bit; under jit it is fused into what makes `new`."""
  return jax.tree.map(lambda one, other: jnp.where(ok, one, other), new, old)


class Guard:
  """Counts what the compiled step left out; kept in a checkpoint's meta.

  Attributes:
    total: steps left out so far.
    row: those of them that are the last steps, without one that counted between or after.
  """

  def __init__(self, limit: int):
    self.limit, self.total, self.row = limit, 0, 0

  def restore(self, meta: dict[str, Any]) -> None:
    """Goes on from a checkpoint's meta; one of before has no counts."""
    self.total, self.row = meta.get('bad_steps', (0, 0))

  def meta(self) -> dict[str, Any]:
    """What a checkpoint's meta keeps."""
    return {'bad_steps': [self.total, self.row]}

  def take(self, steps: Sequence[int], metrics: Sequence[dict[str, float]]) -> int:
    """Counts finished steps, each with the step's metrics; returns how many were left out.

    Raises:
      NonFiniteError: more than `limit` in a row; `step` is the last of them.
    """
    before = self.total
    for step, values in zip(steps, metrics, strict=True):
      if values['left_out']:
        self.total, self.row = self.total + 1, self.row + 1
        log.warning(
          'step %d is left out: loss %g, gradient norm %g; %d in a row, %d so far',
          step, values['loss'], values['grad_norm'], self.row, self.total,
        )
      else:
        self.row = 0
      if self.row > self.limit:
        raise NonFiniteError(
          f'step {step}: loss {values["loss"]}, gradient norm {values["grad_norm"]} is not finite, '
          f'{self.row} steps in a row; stopped', step, dict(zip(steps, metrics)),
        )
    return self.total - before


def dump(
  workdir: pathlib.Path, dataset: Dataset, image_size: int, step: int,
  values: Mapping[int, dict[str, float]], variables,
) -> pathlib.Path:
  """Writes what is to be known of a step that stopped a training.

  Args:
    workdir: of the training; its folder dump_STEP is made.
    dataset: the data set of the training.
    image_size: pixels of the step's images.
    step: the last step, from 1.
    values: metrics of the last steps, by step.
    variables: parameters and statistics, which no bad step has changed.

  Returns:
    The folder: report.json has the config, versions, metrics, for each array its range and for each
    image of the batch its index, label and range; batch.npz has the images and labels.
  """
  folder = workdir / f'dump_{step}'
  folder.mkdir(parents=True, exist_ok=True)
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
    np.savez_compressed(folder / 'batch.npz', **batch)
    report['batch'] = _describe(batch, dataset, step)
  except (UserError, OSError, StopIteration) as error:
    report['batch'] = f'cannot be read again: {error}'
  text = json.dumps(_plain(report), indent=1, allow_nan=False)
  (folder / 'report.json').write_text(text + '\n')
  return folder


def _describe(batch, dataset: Dataset, step: int) -> list[dict[str, Any]]:
  config, info = dataset.config, dataset.info
  rows = np.arange(len(batch['label']))
  # TFRecord files are not read by index.
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


def _plain(value):
  """For JSON, which has no infinity."""
  if isinstance(value, dict):
    return {key: _plain(item) for key, item in value.items()}
  if isinstance(value, (list, tuple)):
    return [_plain(item) for item in value]
  if isinstance(value, (np.ndarray, np.generic)):
    value = value.item()
  return str(value) if isinstance(value, float) and not np.isfinite(value) else value
