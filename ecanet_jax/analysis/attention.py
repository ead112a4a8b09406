"""The attention weights of a trained network on its evaluation images."""

import dataclasses
import functools
import os
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ecanet_jax import data
from ecanet_jax.analysis.gates import BlockGates, collect, viewer
from ecanet_jax.data.types import Batch
from ecanet_jax.evaluation.evaluate_weights import compare_classes, set_name
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.progress import bar
from ecanet_jax.tasks.classification import standardised
from ecanet_jax.weights.loaded_weights import read_weights


@dataclasses.dataclass(frozen=True)
class RunGates:
  """The sums of one network.

  Attributes:
    title: network and data set.
    names: of the classes.
    images: their number.
    blocks: block -> its sums.
  """

  title: str
  names: tuple[str, ...]
  images: int
  blocks: dict[str, BlockGates]


def gates_of_run(config, workdir: str | os.PathLike, blocks: Sequence[str] = ()) -> RunGates:
  """Sums the attention weights of a training's newest checkpoint over its evaluation split.

  Args:
    config: of the training.
    workdir: of the training.
    blocks: names of blocks, ours or the papers'; () = all.

  Raises:
    UserError: there is no checkpoint, the data do not fit, or the network has no attention.
  """
  source = read_weights(workdir)
  model = source.create()
  dataset = data.open(config, paths.to_path(workdir))
  info = dataset.info
  if info.multi_label:
    raise UserError(f'{workdir} has several labels per image; the analysis is by one class each.')
  compare_classes(str(workdir), source, info, accept=config.data.accept_changes)
  mean, std = (jnp.asarray(source.data[key], jnp.float32) for key in ('mean', 'std'))
  views = viewer(model, blocks)
  variables = jax.device_put(dict(source.variables))
  batches, steps = dataset.eval()

  def normalised() -> Iterator[Batch]:
    for _ in bar(range(steps), 'attention', 'batch'):
      batch = next(batches)
      yield {**batch, 'image': standardised(jnp.asarray(batch['image']), mean, std)}

  sums = collect(functools.partial(views, variables), normalised(), info.num_classes)
  names = info.label_names or tuple(map(str, range(info.num_classes)))
  images = int(np.sum(next(iter(sums.values())).weights.count))
  return RunGates(f'{config.model.name} on {set_name(config)}', names, images, sums)
