"""Exact evaluation: every image counts once, whatever the batch size, devices and processes."""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh

from ecanet_jax.detection.fold import fold_backbone
from ecanet_jax.detection.networks.detector import Detector
from ecanet_jax.evaluation.tta import CENTRE, Views, mean_logits
from ecanet_jax.models.fold import fold_batch_norm
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.progress import bar
from ecanet_jax.runtime.sharding import by_image, put_batch, replicated
from ecanet_jax.tasks.task import Task


def make_eval_step(model: nn.Module, task: Task, mesh: Mesh, seen: Views = CENTRE) -> Callable:
  """The compiled function (variables, batch with `mask`) -> the task's sums.

  With several views of an image, their logits are averaged.
  """

  def eval_step(variables, batch):
    def apply(images):
      forward = functools.partial(model.apply, variables)
      return task.outputs(forward, {**batch, 'image': images})

    return task.sums(mean_logits(apply, batch['image'], seen), batch)

  return jax.jit(
    eval_step, in_shardings=(replicated(mesh), by_image(mesh)), out_shardings=replicated(mesh)
  )


def evaluated(model: nn.Module, config) -> nn.Module:
  """The network for evaluation, with BatchNorm folded if `ops.fold_batch_norm`."""
  if isinstance(model, Detector):
    return model.clone(backbone=evaluated(model.backbone, config))
  return model.clone(folded=config.ops.fold_batch_norm)


def place(model: nn.Module, variables, config, mesh: Mesh):
  """The variables of `model` for `evaluated(model, config)`, on every device."""
  if config.ops.fold_batch_norm:
    fold = fold_backbone if isinstance(model, Detector) else fold_batch_norm
    _, variables = fold(model, variables)
  return jax.device_put(variables, replicated(mesh))


def evaluate(
  eval_step: Callable,
  variables,
  batches: Iterator[dict[str, np.ndarray]],
  steps: int,
  expected: int,
  task: Task,
  mesh: Mesh,
) -> dict[str, Any]:
  """Evaluates a whole split.

  Args:
    eval_step: from `make_eval_step`.
    variables: {'params', 'batch_stats'}.
    batches: this process's rows; rows with mask False are padding.
    steps: number of batches, the same on every process.
    expected: number of images in the split.
    task: computes the metrics.
    mesh: the devices.

  Returns:
    The task's metrics, and `seen`, the number of images.

  Raises:
    UserError: the number of images seen is not the split's.
  """
  totals: dict[str, Any] = {}
  rows: dict[str, list] = {key: [] for key in task.joined}
  for _ in bar(range(steps), 'evaluation', 'batch'):
    sums = eval_step(variables, put_batch(next(batches), mesh))
    for key, value in task.on_host(jax.device_get(sums)).items():
      if key in rows:
        rows[key].append(value)  # an array, or a list
        continue
      # Python numbers and 64-bit arrays do not overflow.
      wide = value.astype(np.promote_types(value.dtype, np.int64)) if value.ndim else value.item()
      totals[key] = totals.get(key, 0) + wide
  if totals.get('seen', 0) + totals.get('left_out', 0) != expected:
    raise UserError(
      f'evaluation saw {totals.get("seen", 0)} images and the split has {expected}: '
      'the data set on disk is not what its description says; prepare it again.'
    )
  totals |= {key: _joined(parts) for key, parts in rows.items()}
  return {**task.metrics(totals), 'seen': totals['seen']}


def _joined(parts: list) -> Any:
  """The rows of all batches: arrays are concatenated, lists are chained."""
  if parts and isinstance(parts[0], list):
    return [*itertools.chain.from_iterable(parts)]
  return np.concatenate(parts)
