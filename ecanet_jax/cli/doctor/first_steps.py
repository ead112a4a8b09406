"""The first steps of a training: losses, gradients, attention weights, time."""

import collections
import dataclasses
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ecanet_jax.detection.networks.detector import Detector
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.sharding import put_batch
from ecanet_jax.training import pretrained_init
from ecanet_jax.training.state import TrainState, init_state
from ecanet_jax.training.step import make_train_step
from ecanet_jax.training.train_batches import step_stream
from ecanet_jax.training.trainer import Trainer

STEPS = 20
IMAGES = 64  # of a batch in which gradients and gates are looked at
CLOSED, OPEN = 0.01, 0.99  # attention weights of a gate that is stuck
SMALLEST = {  # positive numbers: normal in bfloat16 (as in float32), and any in float16
  'bfloat16': float(jnp.finfo(jnp.bfloat16).tiny),
  'float16': float(jnp.finfo(jnp.float16).smallest_subnormal),
}


@dataclasses.dataclass(frozen=True)
class View:
  """The network at one moment, on a part of the first batch.

  Attributes:
    gradients: norm of the gradient by stage: stem, stage 1, ..., head.
    weights: norm of the parameters by stage.
    below: share of the gradient's values that are not zero and below a number of SMALLEST.
    largest: absolute value in the gradient.
    stuck: by block, share of the channels whose attention weight is closed or open in all images.
  """

  gradients: dict[str, float]
  weights: dict[str, float]
  below: dict[str, float]
  largest: float
  stuck: dict[str, float]


@dataclasses.dataclass(frozen=True)
class FirstSteps:
  """What the first steps of a training showed.

  Attributes:
    losses: of each step.
    gradient_norms: of each step.
    left_out: number of steps that were not finite.
    waited: seconds that each step waited for its batch.
    took: seconds of each step, without the wait; the first one compiles.
    images: mean and standard deviation of the normalised images.
    labels: number of different classes in the first batch; 0 for images with several labels.
    start: the network before the first step.
    end: the network after the last one.
  """

  losses: Sequence[float]
  gradient_norms: Sequence[float]
  left_out: int
  waited: Sequence[float]
  took: Sequence[float]
  images: tuple[float, float]
  labels: int
  start: View
  end: View


def open_training(config) -> tuple[Trainer, TrainState]:
  """The trainer of a config without a directory, and its first state.

  Raises:
    UserError: as for a training.
  """
  with tempfile.TemporaryDirectory() as folder:
    workdir = os.path.join(folder, 'run')
    config, weights = pretrained_init.resolve(config, workdir, ())
    trainer = Trainer(config, workdir)
  trainer.dataset.check()
  loaded = pretrained_init.initial_weights(
    config, trainer.model, weights, trainer.info.label_names
  ) if weights else {}
  state = init_state(
    trainer.model, trainer.tx, trainer.config, trainer.task.example(), trainer.mesh, loaded
  )
  return trainer, state


def measure(trainer: Trainer, state: TrainState, steps: int = STEPS) -> FirstSteps:
  """Trains for `steps` steps and looks at what happens; nothing is saved.

  Raises:
    UserError: the network is a detector.
  """
  if isinstance(trainer.model, Detector):
    raise UserError(
      f'{trainer.config.model.name} is a detector, and doctor --train looks at classification '
      'networks; for its first steps run train.py with --config.epochs=0 --config.steps=20 '
      '--config.log_steps=1.'
    )
  batch = _first_images(trainer)
  look = _look(trainer)
  start = look(state.variables, batch)
  inputs = np.asarray(trainer.task.inputs(batch))
  seen = collections.defaultdict(list)
  stream = step_stream(trainer.dataset, trainer.stretches, 0, lambda resident: make_train_step(
    trainer.model, trainer.task, trainer.tx, trainer.schedule, trainer.config, trainer.mesh,
    resident, trainer.teacher,
  ))
  try:
    for _ in range(min(steps, trainer.total_steps)):
      began = time.monotonic()
      step, images = next(stream)
      waited = time.monotonic()
      images = put_batch(images, trainer.mesh, trainer.config.accumulate)
      state, metrics = step(state, images)
      metrics = jax.device_get(metrics)
      seen['took'].append(time.monotonic() - waited)
      seen['waited'].append(waited - began)
      for name in ('loss', 'grad_norm', 'left_out'):
        seen[name].append(float(metrics[name]))
  finally:
    stream.close()
  labels = np.asarray(batch['label'])
  return FirstSteps(
    seen['loss'], seen['grad_norm'], int(sum(seen['left_out'])), seen['waited'], seen['took'],
    (float(inputs.mean()), float(inputs.std())),
    len(np.unique(labels)) if labels.ndim == 1 else 0, start, look(state.variables, batch),
  )


def _first_images(trainer: Trainer) -> dict[str, np.ndarray]:
  batches = trainer.dataset.train(0, 1, image_size=trainer.stretches[0].size)
  batch = next(batches)
  batches.close()
  return {key: np.asarray(value)[:IMAGES] for key, value in batch.items()}


def _stage(trainer: Trainer, module: str) -> str:
  if module.startswith('stem'):
    return 'stem'
  stages = {block.name: f'stage {block.stage}' for block in trainer.model.blocks()}
  return stages.get(module, 'head')


def _look(trainer: Trainer):
  """A function (variables, batch) -> View; compiled once."""
  model, task = trainer.model, trainer.task
  if model.bn_groups > 1:
    model = model.clone(bn_groups=1)  # the part of a batch is small

  @jax.jit
  def compute(variables, batch):
    def loss_of(params):
      outputs, changed = model.apply(
        {**variables, 'params': params}, task.inputs(batch), train=True,
        mutable=['batch_stats', 'intermediates'], rngs={'dropout': jax.random.key(0)},
      )
      return task.loss(outputs, batch), changed.get('intermediates', {})

    params = variables['params']
    gradient, intermediates = jax.grad(loss_of, has_aux=True)(params)
    flat = jnp.concatenate([jnp.abs(leaf).ravel() for leaf in jax.tree.leaves(gradient)])
    squares = lambda tree: {
      module: sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(part))
      for module, part in tree.items()
    }
    below = {name: ((flat > 0) & (flat < least)).mean() for name, least in SMALLEST.items()}
    return squares(gradient), squares(params), below, flat.max(), _stuck(intermediates)

  def look(variables, batch) -> View:
    gradient, params, below, largest, stuck = jax.device_get(compute(variables, batch))
    by_stage = []
    for squares in (gradient, params):
      sums = collections.defaultdict(float)
      for module in sorted(squares, key=lambda name: _order(_stage(trainer, name))):
        sums[_stage(trainer, module)] += float(squares[module])
      by_stage.append({stage: value**0.5 for stage, value in sums.items()})
    floats = lambda tree: {name: float(value) for name, value in tree.items()}
    return View(*by_stage, floats(below), float(largest), floats(stuck))

  return look


def _order(stage: str) -> tuple[int, str]:
  return (0 if stage == 'stem' else 2 if stage == 'head' else 1, stage)


def _stuck(intermediates: Mapping[str, Any]) -> dict[str, jax.Array]:
  """By block, the share of the channels that attention closes or opens in every image."""
  found = {}
  for name, values in intermediates.items():
    attention = values.get('attention', {}) if isinstance(values, Mapping) else {}
    for weights in attention.get('weights', ())[:1]:
      if weights.ndim == 4 and weights.shape[1:3] == (1, 1):
        closed = (weights < CLOSED).all((0, 1, 2))
        found[name] = (closed | (weights > OPEN).all((0, 1, 2))).mean()
  return found
